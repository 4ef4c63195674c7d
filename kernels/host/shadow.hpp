// Shadow memory: who wrote and who read each byte last, to find races whatever the schedule was.
//
// Two accesses of one byte, at least one of them a write, are a race unless the later one's thread knew that the
// earlier one was over (order.hpp). Blocks of one launch outside a cluster are never ordered; launches are. Atomics do
// not race with each other. A shuffle, ballot, ldmatrix or mma orders nothing. A cp.async owns its destination from the
// instruction to the wait of its thread: any other access in between is a race. Work in the asynchronous proxy (TMA,
// wgmma) must also have a proxy fence between itself and what threads wrote.
//
// A cell keeps the last write (those before it were ordered before it, or reported) and the readers since then that
// are not ordered before a later reader. So no race is forgotten.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "order.hpp"
#include "runtime.hpp"

namespace emu {

// An access: what, by whom, when, knowing what.
struct Accessor {
  Access access;
  uint32_t scope;    // the launch (device memory), the cluster's run (shared memory): cells of older scopes are void
  uint32_t cluster;  // its number in the launch
  uint32_t actor, stamp;
  uint32_t thread;           // whose program order it is in; NO_THREAD: no one's
  bool asynchronous;         // by the asynchronous proxy
  const Knowledge* knows;
};
constexpr uint32_t NO_THREAD = ~0u;

enum class Conflict : uint32_t { None, WithWrite, WithRead, WithReadElsewhere, WithCopy, WithUnfenced, Uninitialised };

struct Finding {
  Conflict conflict = Conflict::None;
  uint32_t cluster = 0, actor = 0;  // the other side; of WithReadElsewhere unknown
};

class Shadow {
 public:
  // Bytes [0, size); keeps what it knows of a size seen before, as scopes tell old from new.
  void cover(size_t size);
  bool covers() const { return size_ > 0; }

  Finding touch(size_t offset, uint32_t bytes, const Accessor& who);
  // The cp.async that `who` started has arrived: from now on it is an ordinary write, made now.
  void arrive(size_t offset, uint32_t bytes, const Accessor& who);

  // Initialisation is known per byte and is not bound to a scope.
  void set_written(size_t offset, size_t bytes, bool written);
  bool written(size_t offset, size_t bytes) const;

 private:
  // Actors `first` + l for l in `lanes`.
  struct Reader {
    uint32_t first, lanes, stamp;
  };
  struct Cell {
    uint32_t write_scope, write_cluster, write_actor, write_stamp;
    uint32_t read_scope, read_cluster;
    Reader reader;      // the first; no lanes: none
    uint32_t others;    // index of the list of the others, 0: none
    bool write_atomic, write_in_flight, write_asynchronous, read_elsewhere;
  };
  static Finding after_write(const Cell& cell, const Accessor& who);
  Finding read(Cell& cell, const Accessor& who);
  Finding write(Cell& cell, const Accessor& who);
  void remember(Cell& cell, const Reader& reader, const Accessor& who);
  void forget_readers(Cell& cell);
  void refine(uint32_t granule);

  size_t size_ = 0;
  // Bytes a cell: 16 until something smaller or askew is touched, then 8, 4, 2 or 1.
  uint32_t granule_ = 16;
  std::vector<Cell> cells_;
  std::vector<std::vector<Reader>> lists_{1};
  std::vector<uint32_t> free_lists_;
  std::vector<uint8_t> written_;  // 1 or 0 a byte
};

}  // namespace emu
