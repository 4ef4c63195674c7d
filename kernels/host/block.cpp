#include "block.hpp"

#include <cstdlib>
#include <stdexcept>

namespace emu {

__thread Thread* thread_now;
__thread BlockView* block_now;
static __thread Worker* worker_now;

// One file's name may lie in several places, mostly in one.
static bool same(Site a, Site b) { return a.line == b.line && (a.file == b.file || strcmp(a.file, b.file) == 0); }

// ---- a block's life

bool Worker::run(const Launch& launch, uint3 index, std::string* error) {
  launch_ = &launch;
  const uint32_t cluster = std::max(1u, launch.kernel->cluster);
  threads_ = live_ = launch.block.x * launch.block.y * launch.block.z * cluster;
  at_cluster_barrier_ = 0;
  cluster_ = ((index.z * launch.grid.y + index.y) * launch.grid.x + index.x) / cluster;
  runs_++;
  random_.state = options_.seed * 0xD1342543DE82EF95u + launch.number * 0x2545F4914F6CDD1Du + cluster_;
  error_.clear();

  blocks_.resize(cluster);
  for (uint32_t rank = 0; rank < cluster; rank++)
    prepare_block(blocks_[rank], rank, {index.x + rank, index.y, index.z});
  prepare_threads();
  worker_now = this;
  thread_now = &fibers_[0];
  thread_now = &fibers_[options_.checked ? next_ready() : 0];
  emu::block_now = &block_now().view;
  main_ = nullptr;  // what an earlier launch left belongs to another OS thread
  switch_context(&main_, now().context);
  *error = std::move(error_);
  return error->empty();
}

void Worker::prepare_block(Block& block, uint32_t rank, uint3 index) {
  // The base is a multiple of 1024, as on the GPU (prims/cuda.cuh).
  const size_t bytes = launch_->shared_bytes, room = bytes + 1024;
  if (block.memory.size() < room) block.memory.resize(room);
  auto* base = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(block.memory.data()) + 1023) & ~uintptr_t{1023});
  memset(base, POISON, bytes);
  block.view = {index, launch_->block, launch_->grid, base, launch_->shared_bytes, rank};
  block.number = cluster_ * static_cast<uint32_t>(blocks_.size()) + rank;
  block.live = block_threads();
  block.at_barrier = 0;
  block.mbarriers.clear();
  if (options_.checked) {
    block.shadow.cover(bytes);
    block.shadow.set_written(0, bytes, false);
  }
}

// mbarriers, warpgroups and stores of a cluster are actors beside its threads.
constexpr uint32_t MOST_OTHER_ACTORS = 128;

void Worker::prepare_threads() {
  if (fibers_.size() < threads_) fibers_.resize(threads_);
  warps_.assign((threads_ + 31) / 32, WarpState{});
  if (options_.checked) order_.start(threads_, launch_->kernel->cluster ? MOST_OTHER_ACTORS : 0);
  const uint3 dim = launch_->block;
  for (uint32_t slot = 0; slot < threads_; slot++) {
    Fiber& fiber = fibers_[slot];
    const uint32_t t = slot % block_threads();
    fiber.slot = slot;
    fiber.rank = slot / block_threads();
    fiber.linear = t;
    fiber.index = {t % dim.x, t / dim.x % dim.y, t / (dim.x * dim.y)};
    fiber.context = stacks_.start(slot, fiber_main);
    if (!fiber.context)
      throw std::runtime_error("no memory for the stacks of " + std::to_string(threads_) + " threads");
    fiber.passed = {nullptr, 0};
    fiber.copies.clear();
    fiber.groups = 0;
    warps_[slot / 32].live |= 1u << slot % 32;
  }
  for (auto& warp : warps_) warp.ready = warp.live;
  loads_.clear();
  stores_.clear();
  groups_.clear();
  if (launch_->kernel->cluster) groups_.resize(threads_ / GROUP);
  for (Warpgroup& group : groups_) group.actor = new_actor();
}

void Worker::fiber_main() {
  Worker& worker = *worker_now;
  worker.launch_->kernel->entry[worker.options_.checked](worker.launch_->args);
  worker.leave();
}

// The current thread has returned from the kernel.
void Worker::leave() {
  WarpState& warp = warp_now();
  Block& block = block_now();
  const uint32_t bit = 1u << now().slot % 32;
  warp.live &= ~bit;
  warp.ready &= ~bit;
  live_--;
  block.live--;
  if (warp.arrived) fail_waiting("a thread returned while other lanes of its warp wait for it");
  if (launch_->kernel->cluster) leave_asynchronous(block, block.live == 0);
  if (live_ == 0) return_to_caller();
  if (block.live && block.at_barrier == block.live)
    fail_waiting("a thread returned while the rest of its block waits in block_sync");
  if (at_cluster_barrier_) fail_waiting("a thread returned while others of its cluster wait in cluster_sync");
  wait_turn();
}

void Worker::return_to_caller() {
  switch_context(&now().context, main_);
  abort();  // nobody continues this fiber
}

// ---- whose turn

static uint32_t lane_from(uint32_t lanes, uint32_t first) {  // the lane at or after `first`, going round
  const uint32_t turned = first ? lanes >> first | lanes << (32 - first) : lanes;
  return (first + static_cast<uint32_t>(__builtin_ctz(turned))) & 31;
}

// A thread that can go on.
uint32_t Worker::next_ready() {
  const uint32_t here = now().slot;
  if (!options_.checked) {
    if (const uint32_t ready = warps_[here / 32].ready) return here / 32 * 32 + lane_from(ready, (here + 1) & 31);
  }
  const auto count = static_cast<uint32_t>(warps_.size());
  const uint32_t first = options_.checked ? random_.below(count) : here / 32;
  do {
    for (uint32_t i = 0; i < count; i++) {
      const uint32_t w = first + i < count ? first + i : first + i - count;
      if (warps_[w].ready) return w * 32 + lane_from(warps_[w].ready, options_.checked ? random_.below(32) : 0);
    }
  } while (deliver_starved());
  fail_waiting("deadlock: every thread of the block waits");
}

void Worker::continue_at(uint32_t slot) {
  Fiber& from = now();
  Fiber& to = fibers_[slot];
  if (&from == &to) return;
  thread_now = &to;
  emu::block_now = &block_now().view;
  switch_context(&from.context, to.context);
}

// The current thread cannot go on: others' turn, until it is made ready and chosen.
void Worker::wait_turn() {
  if (options_.delivery == Delivery::Random) deliver_some();
  continue_at(next_ready());
}

// The current thread could go on; under a random schedule it may not be the next.
void Worker::give_way() {
  if (options_.checked) wait_turn();
}

// ---- meeting points

void Worker::barrier(Site site) {
  WarpState& warp = warp_now();
  Block& block = block_now();
  const uint32_t bit = 1u << now().slot % 32;
  now().passed = site;
  // Warps may come to different barriers of the source, but bar.sync is for whole warps.
  if (warp.arrived || (warp.at_barrier && !same(warp.barrier, site))) {
    fail_waiting("lanes of one warp diverge: this one is in block_sync");
  }
  warp.barrier = site;
  warp.at_barrier |= bit;
  warp.ready &= ~bit;
  if (++block.at_barrier < block.live) return wait_turn();
  if (block.live < block_threads()) fail_waiting("block_sync after threads of the block have returned");
  const uint32_t first = now().rank * block_threads();
  for (uint32_t w = first / 32; w < (first + block_threads() + 31) / 32; w++) {
    warps_[w].ready = warps_[w].at_barrier;
    warps_[w].at_barrier = 0;
  }
  block.at_barrier = 0;
  if (options_.checked) order_.meet(first, block_threads());
  give_way();
}

void Worker::meet(Collective what, Site site, void* payload, void (*complete)(void* const payloads[32])) {
  WarpState& warp = warp_now();
  const uint32_t lane = now().slot % 32;
  now().passed = site;
  const bool elsewhere = warp.arrived && (warp.what != what || !same(warp.meeting, site));
  if (elsewhere || warp.at_barrier) fail_waiting("lanes of one warp diverge: this one is elsewhere");
  if (~warp.live) fail_waiting("a collective in a warp with fewer than 32 running lanes");
  warp.what = what;
  warp.meeting = site;
  warp.payloads[lane] = payload;
  warp.arrived |= 1u << lane;
  if (~warp.arrived) {
    warp.ready &= ~(1u << lane);
    return wait_turn();
  }
  warp.arrived = 0;
  warp.ready = warp.live;
  if (what == Collective::WarpSync && options_.checked) order_.meet(now().slot / 32 * 32, 32);
  complete(warp.payloads);
  give_way();
}

// ---- what kernels call

void block_barrier(Site site) { worker_now->barrier(site); }
void meet(Collective what, Site site, void* payload, void (*complete)(void* const payloads[32])) {
  worker_now->meet(what, site, payload, complete);
}
uint8_t* check_global(uint64_t address, uint32_t bytes, uint32_t alignment, Access access) {
  return worker_now->check_global(address, bytes, alignment, access);
}
uint8_t* check_shared(uint32_t address, uint32_t bytes, uint32_t alignment, Access access) {
  return worker_now->check_shared(address, bytes, alignment, access);
}
void async_copy16(uint32_t to, uint64_t from, bool valid) { worker_now->async_copy16(to, from, valid); }
void async_commit() { worker_now->async_commit(); }
void async_wait(uint32_t newest_groups_left) { worker_now->async_wait(newest_groups_left); }
void cluster_barrier(Site site) { worker_now->cluster_barrier(site); }
void mbarrier_init(uint32_t at, uint32_t arrivals) { worker_now->mbarrier_init(at, arrivals); }
void mbarrier_arrive(uint32_t at, uint32_t rank, uint32_t bytes) { worker_now->mbarrier_arrive(at, rank, bytes); }
void mbarrier_wait(uint32_t at, uint32_t parity, Site site) { worker_now->mbarrier_wait(at, parity, site); }
void proxy_fence() { worker_now->proxy_fence(); }
void bulk_load(const BulkLoad& load) { worker_now->bulk_load(load); }
void bulk_store(const TensorMap* map, uint32_t from, int32_t c, int32_t row) {
  worker_now->bulk_store(map, from, c, row);
}
void bulk_commit() { worker_now->bulk_commit(); }
void bulk_wait_read(uint32_t newest_groups_left) { worker_now->bulk_wait_read(newest_groups_left); }
void meet_group(GroupCollective what, Site site, void* payload, void (*complete)(void* const payloads[GROUP])) {
  worker_now->meet_group(what, site, payload, complete);
}
void group_fence() { worker_now->group_fence(); }
void group_product(const Product& product) { worker_now->group_product(product); }
void group_commit() { worker_now->group_commit(); }
void group_wait(uint32_t newest_groups_left) { worker_now->group_wait(newest_groups_left); }
void fail(const char* what) { worker_now->fail(what); }

}  // namespace emu
