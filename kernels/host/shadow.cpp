#include "shadow.hpp"

namespace emu {

void Shadow::cover(size_t size) {
  if (size <= size_) return;
  size_ = size;
  cells_.resize((size + granule_ - 1) / granule_);
  written_.resize(size);
}

// Smaller cells start with what the larger one knew.
void Shadow::refine(uint32_t granule) {
  const uint32_t parts = granule_ / granule;
  std::vector<Cell> finer((size_ + granule - 1) / granule);
  for (size_t i = 0; i < finer.size(); i++) finer[i] = cells_[i / parts];
  cells_.swap(finer);
  granule_ = granule;
}

Finding Shadow::touch(size_t offset, uint32_t bytes, const Accessor& who) {
  while ((offset | bytes) % granule_) refine(granule_ / 2);
  const bool reads = who.access == Access::Read || who.access == Access::WarpRead;
  for (size_t i = offset / granule_; i < (offset + bytes) / granule_; i++) {
    const Finding found = reads ? read(cells_[i], who) : write(cells_[i], who);
    if (found.conflict != Conflict::None) return found;
  }
  return {};
}

// Whether nothing puts the cell's last write, in the same scope, before an access by another thread.
bool Shadow::unordered(const Cell& cell, const Accessor& who) {
  if (cell.write_block != who.block) return true;
  if (cell.write_epoch != who.epoch) return false;
  return cell.write_thread / 32u != who.thread / 32 || cell.write_warp_epoch == who.warp_epoch;
}

Finding Shadow::read(Cell& cell, const Accessor& who) {
  // A row of ldmatrix goes to four lanes, so even the lane that wrote it does not read it alone.
  const bool whole_warp = who.access == Access::WarpRead;
  if (cell.write_scope == who.scope) {
    if (cell.write_in_flight) return {Conflict::WithCopy, cell.write_block, cell.write_thread};
    const bool own = cell.write_block == who.block && cell.write_thread == who.thread && !whole_warp;
    if (!own && unordered(cell, who)) return {Conflict::WithWrite, cell.write_block, cell.write_thread};
  }
  const uint32_t lanes = whole_warp ? ~0u : 1u << who.thread % 32;
  const auto warp = static_cast<uint8_t>(who.thread / 32);
  const bool first = cell.read_scope != who.scope;
  if (first || cell.read_block != who.block || cell.read_epoch != who.epoch) {
    cell.read_other_block = !first && (cell.read_other_block || cell.read_block != who.block);
    cell.read_other_warp = false;
    cell.read_scope = who.scope;
    cell.read_block = who.block;
    cell.read_epoch = who.epoch;
    cell.read_warp = warp;
    cell.read_warp_epoch = who.warp_epoch;
    cell.read_lanes = lanes;
  } else if (cell.read_warp != warp) {
    cell.read_other_warp = true;
  } else if (cell.read_warp_epoch != who.warp_epoch) {
    cell.read_warp_epoch = who.warp_epoch;
    cell.read_lanes = lanes;
  } else {
    cell.read_lanes |= lanes;
  }
  return {};
}

Finding Shadow::write(Cell& cell, const Accessor& who) {
  const bool atomic = who.access == Access::Atomic, copy = who.access == Access::AsyncCopy;
  if (cell.write_scope == who.scope) {
    if (cell.write_in_flight) return {Conflict::WithCopy, cell.write_block, cell.write_thread};
    const bool own = cell.write_block == who.block && cell.write_thread == who.thread;
    if (!own && !(atomic && cell.write_atomic) && unordered(cell, who)) {
      return {Conflict::WithWrite, cell.write_block, cell.write_thread};
    }
  }
  if (cell.read_scope == who.scope) {
    if (cell.read_other_block) return {Conflict::WithReadElsewhere, 0, 0};
    auto reader = [&](uint32_t lanes) -> Finding {
      return {Conflict::WithRead, cell.read_block, cell.read_warp * 32u + static_cast<uint32_t>(__builtin_ctz(lanes))};
    };
    if (cell.read_block != who.block) return reader(cell.read_lanes);
    if (cell.read_epoch == who.epoch) {
      if (cell.read_warp != who.thread / 32) return reader(cell.read_lanes);
      if (cell.read_other_warp) return {Conflict::WithReadElsewhere, 0, 0};
      const uint32_t others = cell.read_lanes & ~(1u << who.thread % 32);
      if (cell.read_warp_epoch == who.warp_epoch && others) return reader(others);
    }
  }
  cell.write_scope = who.scope;
  cell.write_block = who.block;
  cell.write_thread = static_cast<uint16_t>(who.thread);
  cell.write_epoch = who.epoch;
  cell.write_warp_epoch = who.warp_epoch;
  cell.write_atomic = atomic;
  cell.write_in_flight = copy;
  return {};
}

void Shadow::arrive(size_t offset, uint32_t bytes, const Accessor& who) {
  for (size_t i = offset / granule_; i < (offset + bytes) / granule_; i++) {
    cells_[i].write_in_flight = false;
    cells_[i].write_epoch = who.epoch;
    cells_[i].write_warp_epoch = who.warp_epoch;
  }
}

void Shadow::set_written(size_t offset, size_t bytes, bool written) {
  std::fill_n(written_.begin() + static_cast<std::ptrdiff_t>(offset), bytes, written);
}

bool Shadow::written(size_t offset, size_t bytes) const {
  for (size_t i = offset; i < offset + bytes; i++) {
    if (!written_[i]) return false;
  }
  return true;
}

std::string describe(const Finding& finding, const Accessor& who) {
  const bool elsewhere = finding.block != who.block;
  const std::string other =
      "thread " + std::to_string(finding.thread) + (elsewhere ? " of block " + std::to_string(finding.block) : "");
  const char* unordered = elsewhere ? ": the blocks of a launch have no order" : " with no barrier between";
  switch (finding.conflict) {
    case Conflict::WithWrite: return "written by " + other + unordered;
    case Conflict::WithRead: return "read by " + other + unordered;
    case Conflict::WithReadElsewhere: return "read by other warps or blocks with no barrier between";
    case Conflict::WithCopy: return "where an asynchronous copy by " + other + " is under way, not waited for";
    case Conflict::Uninitialised: return "never written";
    case Conflict::None: break;
  }
  return {};
}

}  // namespace emu
