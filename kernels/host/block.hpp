// A block of threads, or a cluster of blocks, on one OS thread: a fiber per thread, and the scheduler that says whose
// turn it is.
//
// Fast: lane after lane, warp after warp, which keeps a warp's stacks in the cache. Checked: at random from the
// seed, so that a missing barrier does not hide behind a lucky order. Threads change only where they wait for
// others or for copies; between such places the shadow memory finds races, whatever the order.
#pragma once
#include <string>
#include <vector>

#include "async.hpp"
#include "fiber.hpp"
#include "memory.hpp"
#include "runtime.hpp"
#include "shadow.hpp"

namespace emu {

enum class Delivery : uint32_t { AtOnce, Random, Starved };

// Mirrored by engine/cuda/emulated.rs.
struct Options {
  uint64_t seed;
  uint32_t checked;        // 0: the fast build, blocks on several OS threads, and none of the next three
  Delivery delivery;       // of asynchronous copies
  uint32_t races;          // report them
  uint32_t uninitialised;  // report reads of bytes never written
  uint32_t os_threads;     // of the fast build
};

// One kernel launch.
struct Launch {
  const Kernel* kernel;
  const void* args;
  uint3 grid, block;
  uint32_t shared_bytes;
  std::string label;
  uint32_t number;  // of the device's launches, from 1: part of the schedule's seed, scope of device memory's shadow
};

struct Random {
  uint64_t state;
  uint32_t next() {  // splitmix64
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return static_cast<uint32_t>((z ^ (z >> 31)) >> 32);
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((uint64_t{next()} * n) >> 32); }
};

// An asynchronous copy under way.
struct PendingCopy {
  uint8_t* to;
  uint32_t offset;  // of `to` in shared memory
  uint64_t from;
  bool valid;
  uint32_t group;
  bool delivered;  // the bytes are there; the thread has not waited yet
};

struct Fiber : Thread {
  Context context;
  uint32_t slot;  // its number in the cluster
  uint32_t rank;  // its block's
  Site passed;  // the last wait it came to, for reports
  std::vector<PendingCopy> copies;
  uint32_t groups;  // committed so far
};

// Lane sets are bit masks.
struct WarpState {
  uint32_t live, ready;
  uint32_t at_barrier;
  Site barrier;
  uint32_t arrived;
  Collective what;
  Site meeting;
  void* payloads[32];
};

// One block of the cluster that is running.
struct Block {
  BlockView view;
  uint32_t number;  // in the grid
  uint32_t live, at_barrier;
  std::vector<uint8_t> memory;
  Shadow shadow;  // of its shared memory
  std::vector<Mbarrier> mbarriers;
};

class Worker {
 public:
  Worker(Memory& memory, const Options& options) : memory_(memory), options_(options) {}

  // Runs the block at `index`, or the cluster that begins there, to its end. False, with a report in `error`, when a
  // check failed.
  bool run(const Launch& launch, uint3 index, std::string* error);

  // From inside a block (runtime.hpp).
  void barrier(Site site);
  void meet(Collective what, Site site, void* payload, void (*complete)(void* const payloads[32]));
  uint8_t* check_global(uint64_t address, uint32_t bytes, uint32_t alignment, Access access);
  uint8_t* check_shared(uint32_t address, uint32_t bytes, uint32_t alignment, Access access);
  void async_copy16(uint32_t to, uint64_t from, bool valid);
  void async_commit() { now().groups++; }
  void async_wait(uint32_t newest_groups_left);

  void cluster_barrier(Site site);
  void mbarrier_init(uint32_t at, uint32_t arrivals);
  void mbarrier_arrive(uint32_t at, uint32_t rank, uint32_t bytes);
  void mbarrier_wait(uint32_t at, uint32_t parity, Site site);
  void proxy_fence() {
    if (options_.checked) order_.proxy_fence(now().slot);
  }
  void bulk_load(const BulkLoad& load);
  void bulk_store(const TensorMap* map, uint32_t from, int32_t c, int32_t row);
  void bulk_commit();
  void bulk_wait_read(uint32_t newest_groups_left);
  void meet_group(GroupCollective what, Site site, void* payload, void (*complete)(void* const payloads[GROUP]));
  void group_fence();
  void group_product(const Product& product);
  void group_commit();
  void group_wait(uint32_t newest_groups_left);
  // Ends the cluster with a report (report.cpp). The fibers are never continued, so what their stacks own is lost.
  [[noreturn]] void fail(const std::string& what);

 private:
  static void fiber_main();
  Fiber& now() const { return *static_cast<Fiber*>(thread_now); }
  Block& block_now() { return blocks_[now().rank]; }
  WarpState& warp_now() { return warps_[now().slot / 32]; }
  Warpgroup& group_now() { return groups_[now().slot / GROUP]; }
  uint32_t block_threads() const { return threads_ / static_cast<uint32_t>(blocks_.size()); }
  void prepare_block(Block& block, uint32_t rank, uint3 index);
  void prepare_threads();

  // Whose turn (block.cpp).
  uint32_t next_ready();
  void continue_at(uint32_t slot);
  void wait_turn();
  void give_way();
  void leave();
  [[noreturn]] void return_to_caller();

  void make_ready(uint32_t slot) { warps_[slot / 32].ready |= 1u << slot % 32; }
  void suspend() { warp_now().ready &= ~(1u << now().slot % 32); }

  // Memory (access.cpp).
  Accessor accessor(Access access, uint32_t scope);
  // The asynchronous proxy, for a thread.
  Accessor accessor(Access access, uint32_t scope, uint32_t actor, uint32_t stamp);
  const Knowledge* knowledge(uint32_t thread) const { return options_.checked ? &order_.of(thread) : nullptr; }
  Finding inspect(Shadow& shadow, size_t offset, uint32_t bytes, const Accessor& who);
  uint8_t* check_global(uint64_t address, uint32_t bytes, uint32_t alignment, const Accessor& who);
  uint8_t* check_shared(Block& block, uint32_t address, uint32_t bytes, uint32_t alignment, const Accessor& who);
  std::string describe(const Finding& finding, const Accessor& who) const;
  std::string name(uint32_t actor) const;
  void deliver(PendingCopy& copy);
  void deliver_some();

  // Asynchronous work of a cluster (mbarrier.cpp, bulk.cpp, warpgroup.cpp).
  uint32_t new_actor();
  Mbarrier* find_mbarrier(Block& block, uint32_t at);
  Mbarrier& mbarrier(uint32_t at, uint32_t rank);
  void complete_phase(Mbarrier& barrier);
  std::string state(const Mbarrier& barrier) const;
  const TensorMap& tensor_map(const TensorMap* map);
  void deliver(size_t pending_load);
  bool deliver_starved();
  void carry_out(PendingStore& store);
  StoreQueue& stores();
  void carry_out_products(Warpgroup& group, size_t count);
  void leave_asynchronous(Block& block, bool last);

  // The failure of threads to meet, with who waits where, a line a place.
  [[noreturn]] void fail_waiting(const char* what);

  Memory& memory_;
  const Options& options_;
  Stacks stacks_;
  std::vector<Fiber> fibers_;
  std::vector<WarpState> warps_;
  std::vector<Warpgroup> groups_;
  std::vector<Block> blocks_;
  std::vector<PendingLoad> loads_;
  std::vector<StoreQueue> stores_;
  Order order_;
  const Launch* launch_ = nullptr;
  Context main_ = nullptr;
  Random random_{0};
  uint32_t threads_ = 0, live_ = 0, at_cluster_barrier_ = 0;
  uint32_t cluster_ = 0;  // its number in the grid
  uint32_t runs_ = 0;     // clusters run so far: the scope of shared memory's shadow
  std::string error_;
};

std::string text(Site site);

}  // namespace emu
