// Work that threads of a cluster give away: mbarriers, bulk copies, products of warpgroups.
#pragma once
#include <string>
#include <vector>

#include "order.hpp"
#include "runtime.hpp"

namespace emu {

// An mbarrier of one block. Its actor (order.hpp) stands for the bulk copies that report to it, with phases for stamps.
struct Mbarrier {
  uint32_t at;  // byte of shared memory
  uint32_t arrivals, pending;
  int64_t bytes;   // announced and not yet there; may be below zero before the announcement
  uint32_t phase;  // the one under way, from 0
  uint32_t actor;
  uint32_t init_thread, init_stamp;
  Knowledge arriving, complete;  // what is learnt from the phase under way, and from those before it
  std::vector<uint32_t> waiting;
};

// One box under way to one block.
struct PendingLoad {
  BulkLoad load;
  TensorMap map;
  uint32_t rank;
  uint32_t phase;     // of the mbarrier when the copy was asked for
  uint32_t priority;  // of starved delivery
};

struct PendingStore {
  TensorMap map;
  uint32_t rank, from;  // shared memory
  int32_t c, row;
  uint32_t group;
  bool done;
};

// Stores of one thread.
struct StoreQueue {
  uint32_t thread;
  uint32_t reads, writes;  // actors: reading shared memory, writing device memory; groups for stamps
  uint32_t groups;         // committed so far
  std::vector<PendingStore> pending;
};

struct Warpgroup {
  // A meeting in progress.
  uint32_t arrived;
  GroupCollective what;
  Site meeting;
  void* payloads[GROUP];
  // Products issued and not done, in order; they add to one set of accumulators, whose values are here meanwhile.
  std::vector<Product> products;
  std::vector<float> sums;
  bool holds_sums, fenced;
  uint32_t groups;  // committed so far
  uint32_t actor;
  Knowledge known;  // to all threads, at the last fence
};

}  // namespace emu
