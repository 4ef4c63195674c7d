// Shadow memory: who wrote and who read each byte last, to find races whatever the schedule was.
//
// Two accesses of one byte, at least one of them a write, are a race unless something orders them:
//   same thread                                  program order
//   same block, another block_sync between       `epoch` counts them
//   same warp, a warp_sync between               `warp_epoch` counts them
// Blocks of one launch are never ordered; launches are. Atomics do not race with each other. A shuffle, ballot,
// ldmatrix or mma orders nothing. An asynchronous copy owns its destination from the instruction to the wait of its
// thread: any other access in between is a race.
//
// A cell keeps the last write (those before it were ordered before it, or reported) and as much of the readers of
// the current epoch as a later write needs: one warp's lanes, and whether any other warp or block read too. So no
// race is forgotten.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime.hpp"

namespace emu {

// An access: what, by whom, when.
struct Accessor {
  Access access;
  uint32_t scope;  // the launch (device memory), the block's run (shared memory): cells of older scopes are void
  uint32_t block, thread;
  uint32_t epoch, warp_epoch;
};

enum class Conflict : uint32_t { None, WithWrite, WithRead, WithReadElsewhere, WithCopy, Uninitialised };

struct Finding {
  Conflict conflict = Conflict::None;
  uint32_t block = 0, thread = 0;  // the other side; of WithReadElsewhere unknown
};

class Shadow {
 public:
  // Bytes [0, size); keeps what it knows of a size seen before, as scopes tell old from new.
  void cover(size_t size);
  bool covers() const { return size_ > 0; }

  Finding touch(size_t offset, uint32_t bytes, const Accessor& who);
  // The copy that `who` started has arrived: from now on it is an ordinary write, made now.
  void arrive(size_t offset, uint32_t bytes, const Accessor& who);

  // Initialisation is known per byte and is not bound to a scope.
  void set_written(size_t offset, size_t bytes, bool written);
  bool written(size_t offset, size_t bytes) const;

 private:
  struct Cell {
    uint32_t write_scope, write_block, write_epoch, write_warp_epoch;
    uint32_t read_scope, read_block, read_epoch, read_warp_epoch, read_lanes;
    uint16_t write_thread;
    uint8_t read_warp;
    bool write_atomic, write_in_flight, read_other_block, read_other_warp;
  };
  static bool unordered(const Cell& cell, const Accessor& who);
  static Finding read(Cell& cell, const Accessor& who);
  static Finding write(Cell& cell, const Accessor& who);
  void refine(uint32_t granule);

  size_t size_ = 0;
  // Bytes a cell: 4 until something smaller or askew is touched, then 2 or 1.
  uint32_t granule_ = 4;
  std::vector<Cell> cells_;
  std::vector<uint8_t> written_;  // 1 or 0 a byte
};

// `written by thread 33 with no barrier between`
std::string describe(const Finding& finding, const Accessor& who);

}  // namespace emu
