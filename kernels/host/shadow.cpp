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
  for (size_t i = 0; i < finer.size(); i++) {
    finer[i] = cells_[i / parts];
    if (i % parts && finer[i].others) {
      lists_.push_back(lists_[finer[i].others]);
      finer[i].others = static_cast<uint32_t>(lists_.size() - 1);
    }
  }
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

// Whether the cell's last write, in the same scope, comes before an access.
Finding Shadow::after_write(const Cell& cell, const Accessor& who) {
  const Finding unordered{Conflict::WithWrite, cell.write_cluster, cell.write_actor};
  if (cell.write_in_flight) return {Conflict::WithCopy, cell.write_cluster, cell.write_actor};
  if (cell.write_cluster != who.cluster) return unordered;
  const bool known = who.knows->seen[cell.write_actor] > cell.write_stamp;
  if (who.asynchronous) {
    if (!known && cell.write_actor != who.thread) return unordered;
    if (!cell.write_asynchronous && who.knows->fenced[cell.write_actor] <= cell.write_stamp)
      return {Conflict::WithUnfenced, cell.write_cluster, cell.write_actor};
    return {};
  }
  // A row of ldmatrix goes to four lanes, so even the lane that wrote it does not read it alone.
  const bool own = cell.write_actor == who.actor && who.access != Access::WarpRead;
  return known || own ? Finding{} : unordered;
}

void Shadow::forget_readers(Cell& cell) {
  cell.reader.lanes = 0;
  if (!cell.others) return;
  lists_[cell.others].clear();
  free_lists_.push_back(cell.others);
  cell.others = 0;
}

// Readers that are ordered before the new one need not be kept: what comes after it comes after them.
void Shadow::remember(Cell& cell, const Reader& reader, const Accessor& who) {
  auto joins = [&](Reader& old) {
    if (old.first != reader.first || old.stamp != reader.stamp) return false;
    old.lanes |= reader.lanes;
    return true;
  };
  if (cell.reader.lanes == 0) {
    cell.reader = reader;
    return;
  }
  if (joins(cell.reader)) return;
  auto is_over = [&](Reader& old) {
    if (old.first == reader.first) old.lanes &= ~reader.lanes;
    for (uint32_t lanes = old.lanes; lanes; lanes &= lanes - 1) {
      if (who.knows->seen[old.first + static_cast<uint32_t>(__builtin_ctz(lanes))] <= old.stamp) return false;
    }
    return true;
  };
  if (cell.others) {
    auto& list = lists_[cell.others];
    for (Reader& old : list) {
      if (joins(old)) return;
    }
    list.erase(std::remove_if(list.begin(), list.end(), is_over), list.end());
  }
  if (is_over(cell.reader)) {
    cell.reader = reader;
    return;
  }
  if (!cell.others) {
    if (free_lists_.empty()) {
      lists_.emplace_back();
      free_lists_.push_back(static_cast<uint32_t>(lists_.size() - 1));
    }
    cell.others = free_lists_.back();
    free_lists_.pop_back();
  }
  lists_[cell.others].push_back(reader);
}

Finding Shadow::read(Cell& cell, const Accessor& who) {
  if (cell.write_scope == who.scope) {
    const Finding found = after_write(cell, who);
    if (found.conflict != Conflict::None) return found;
  }
  if (cell.read_scope != who.scope || cell.read_cluster != who.cluster) {
    cell.read_elsewhere = cell.read_scope == who.scope;
    cell.read_scope = who.scope;
    cell.read_cluster = who.cluster;
    forget_readers(cell);
  }
  const bool thread = who.actor == who.thread;
  const uint32_t first = thread ? who.actor & ~31u : who.actor;
  remember(cell, {first, who.access == Access::WarpRead ? ~0u : 1u << (who.actor - first), who.stamp}, who);
  return {};
}

Finding Shadow::write(Cell& cell, const Accessor& who) {
  const bool atomic = who.access == Access::Atomic;
  if (cell.write_scope == who.scope && !(atomic && cell.write_atomic)) {
    const Finding found = after_write(cell, who);
    if (found.conflict != Conflict::None) return found;
  }
  if (cell.read_scope == who.scope) {
    if (cell.read_elsewhere) return {Conflict::WithReadElsewhere, 0, 0};
    auto unordered = [&](const Reader& reader) -> Finding {
      for (uint32_t lanes = reader.lanes; lanes; lanes &= lanes - 1) {
        const uint32_t actor = reader.first + static_cast<uint32_t>(__builtin_ctz(lanes));
        const bool known = actor == who.thread || who.knows->seen[actor] > reader.stamp;
        if (cell.read_cluster == who.cluster && known) continue;
        return {Conflict::WithRead, cell.read_cluster, actor};
      }
      return {};
    };
    Finding found = unordered(cell.reader);
    for (size_t i = 0; cell.others && found.conflict == Conflict::None && i < lists_[cell.others].size(); i++)
      found = unordered(lists_[cell.others][i]);
    if (found.conflict != Conflict::None) return found;
    forget_readers(cell);
  }
  cell.write_scope = who.scope;
  cell.write_cluster = who.cluster;
  cell.write_actor = who.actor;
  cell.write_stamp = who.stamp;
  cell.write_atomic = atomic;
  cell.write_in_flight = who.access == Access::AsyncCopy;
  cell.write_asynchronous = who.asynchronous;
  return {};
}

void Shadow::arrive(size_t offset, uint32_t bytes, const Accessor& who) {
  for (size_t i = offset / granule_; i < (offset + bytes) / granule_; i++) {
    cells_[i].write_in_flight = false;
    cells_[i].write_stamp = who.stamp;
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

}  // namespace emu
