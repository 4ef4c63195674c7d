// Bulk copies of boxes between device memory and shared memory, as tensor maps describe them.
//
// source: PTX manual, 5.5 (tensors: tiled and im2col modes, swizzling) and cp.async.bulk.tensor. In im2col mode a box
// is `box_rows` positions on end: they walk from `lower` to `length - 1 + upper` of one example, then of the next; what
// is read is the position moved by `offset`, zeros where that falls outside the example or behind the last one.
#include "block.hpp"

namespace emu {

constexpr uint32_t ROW = 128;  // bytes of a box's row: 64 elements

// Byte of the 16-byte piece `piece` of row `row` in a box swizzled over 128 bytes.
static uint32_t swizzled(uint32_t row, uint32_t piece) { return row * ROW + (piece ^ (row & 7)) * 16; }

const TensorMap& Worker::tensor_map(const TensorMap* map) {
  if (reinterpret_cast<uintptr_t>(map) % 64) fail("a tensor map must lie at a multiple of 64 bytes");
  if (map->magic != TENSOR_MAP_MAGIC) fail("there is no tensor map at this address");
  return *map;
}

// Device memory of row i of a box, or null where zeros are read.
static uint64_t source(const TensorMap& map, const BulkLoad& load, uint32_t i) {
  const auto channels = int64_t{map.channels};
  if (load.c < 0 || load.c >= channels) return 0;
  int64_t n = load.n, l = int64_t{load.l} + i;
  if (map.im2col) {
    const int64_t walk = int64_t{map.length} + map.upper - map.lower, walked = l - map.lower;
    n += walked / walk;
    l = walked % walk + map.lower + load.offset;
  }
  if (n < 0 || n >= map.batch || l < 0 || l >= map.length) return 0;
  return map.address + static_cast<uint64_t>((n * map.length + l) * channels + load.c) * 2;
}

void Worker::bulk_load(const BulkLoad& load) {
  const TensorMap& map = tensor_map(load.map);
  if (map.im2col && (load.l < map.lower || load.l > int64_t{map.length} - 1 + map.upper))
    fail("a box starts at position " + std::to_string(load.l) + ", outside where its tensor map walks");
  if (load.c % 8) fail("a box must start at a multiple of 8 channels");
  for (uint32_t rank = 0; rank < 32; rank++) {
    if (!(load.ranks >> rank & 1)) continue;
    if (rank >= blocks_.size()) fail("a copy to block " + std::to_string(rank) + ", which the cluster has not");
    Block& block = blocks_[rank];
    if (block.live == 0) fail("a copy to a block that has ended");
    Mbarrier& barrier = mbarrier(load.barrier, rank);
    if (options_.checked && order_.of(now().slot).fenced[barrier.init_thread] <= barrier.init_stamp)
      fail(state(barrier) + ", used by a copy with no fence_barrier_init between its initialisation and this");
    const Accessor to = accessor(Access::Write, runs_, barrier.actor, barrier.phase);
    check_shared(block, load.to, map.box_rows * ROW, 1024, to);
    const Accessor from = accessor(Access::Read, launch_->number, barrier.actor, barrier.phase);
    for (uint32_t i = 0; i < map.box_rows; i++) {
      const uint64_t row = source(map, load, i);
      // The rest of a row behind the last channel would be zeros; our tensors have whole rows.
      if (row) check_global(row, ROW, 16, from);
    }
    // Copies that report to one mbarrier are late together, so that a whole class of them can always be.
    const uint32_t priority = Random{options_.seed * 0x9E3779B97F4A7C15u + load.barrier}.next();
    loads_.push_back({load, map, rank, barrier.phase, priority});
    if (options_.delivery == Delivery::AtOnce) deliver(loads_.size() - 1);
  }
}

void Worker::deliver(size_t i) {
  const PendingLoad pending = loads_[i];
  loads_[i] = loads_.back();
  loads_.pop_back();
  Block& block = blocks_[pending.rank];
  uint8_t* to = block.view.shared + (pending.load.to - SHARED_BASE);
  for (uint32_t row = 0; row < pending.map.box_rows; row++) {
    const uint64_t from = source(pending.map, pending.load, row);
    for (uint32_t piece = 0; piece < ROW / 16; piece++) {
      if (from) {
        memcpy(to + swizzled(row, piece), plain_pointer(from) + piece * 16, 16);
      } else {
        memset(to + swizzled(row, piece), 0, 16);
      }
    }
  }
  Mbarrier& barrier = *find_mbarrier(block, pending.load.barrier);
  if (barrier.phase != pending.phase)
    fail("a copy asked for in phase " + std::to_string(pending.phase) + " arrives later, at " + state(barrier) +
         ": fewer bytes were announced than come");
  barrier.bytes -= pending.map.box_rows * ROW;
  complete_phase(barrier);
}

// When every thread waits: a copy of the mbarrier that the seed puts first. False when none is under way.
bool Worker::deliver_starved() {
  if (loads_.empty()) return false;
  auto later = [](const PendingLoad& a, const PendingLoad& b) { return a.priority < b.priority; };
  deliver(static_cast<size_t>(std::max_element(loads_.begin(), loads_.end(), later) - loads_.begin()));
  return true;
}

// Of a flat tensor.
static uint64_t row_address(const TensorMap& map, int64_t row, int64_t c) {
  return map.address + static_cast<uint64_t>(row * map.channels + c) * 2;
}

StoreQueue& Worker::stores() {
  for (StoreQueue& queue : stores_) {
    if (queue.thread == now().slot) return queue;
  }
  stores_.push_back({now().slot, new_actor(), new_actor(), 0, {}});
  return stores_.back();
}

// Rows behind the last one are left out.
void Worker::bulk_store(const TensorMap* at, uint32_t from, int32_t c, int32_t row) {
  const TensorMap& map = tensor_map(at);
  StoreQueue& queue = stores();
  if (map.im2col) fail("a store through a tensor map for im2col");
  if (c < 0 || c % 64 || row < 0) fail("a store must start at a multiple of 64 channels inside the tensor");
  check_shared(block_now(), from, map.box_rows * ROW, 1024, accessor(Access::Read, runs_, queue.reads, queue.groups));
  const PendingStore store{map, now().rank, from - SHARED_BASE, c, row, queue.groups, false};
  const Accessor to = accessor(Access::Write, launch_->number, queue.writes, queue.groups);
  for (uint32_t i = 0; i < map.box_rows && row + i < map.length; i++)
    check_global(row_address(map, row + i, c), ROW, 16, to);
  queue.pending.push_back(store);
  if (options_.delivery == Delivery::AtOnce) carry_out(queue.pending.back());
}

void Worker::carry_out(PendingStore& store) {
  if (store.done) return;
  store.done = true;
  const TensorMap& map = store.map;
  const uint8_t* from = blocks_[store.rank].view.shared + store.from;
  for (uint32_t i = 0; i < map.box_rows && store.row + i < map.length; i++) {
    uint8_t* to = plain_pointer(row_address(map, store.row + i, store.c));
    for (uint32_t piece = 0; piece < ROW / 16; piece++) memcpy(to + piece * 16, from + swizzled(i, piece), 16);
  }
}

void Worker::bulk_commit() { stores().groups++; }

void Worker::bulk_wait_read(uint32_t newest_groups_left) {
  StoreQueue& queue = stores();
  const uint32_t end = queue.groups > newest_groups_left ? queue.groups - newest_groups_left : 0;
  auto over = [&](PendingStore& store) {
    if (store.group >= end) return false;
    carry_out(store);
    return true;
  };
  queue.pending.erase(std::remove_if(queue.pending.begin(), queue.pending.end(), over), queue.pending.end());
  if (options_.checked) order_.learn(now().slot, queue.reads, end);
  give_way();
}

}  // namespace emu
