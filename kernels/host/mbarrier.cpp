// mbarriers and the barrier of a cluster.
#include "block.hpp"

namespace emu {

void Worker::cluster_barrier(Site site) {
  now().passed = site;
  if (live_ < threads_) fail_waiting("cluster_sync after threads of the cluster have returned");
  suspend();
  if (++at_cluster_barrier_ < live_) return wait_turn();
  at_cluster_barrier_ = 0;
  for (auto& warp : warps_) warp.ready = warp.live;
  if (options_.checked) order_.meet(0, threads_);
  give_way();
}

uint32_t Worker::new_actor() {
  if (!options_.checked) return 0;
  const uint32_t actor = order_.add_actor();
  if (!actor) fail("more mbarriers, warpgroups and stores in a cluster than the emulator can follow");
  return actor;
}

// `the mbarrier at byte 1024: phase 3, 1 of 4 arrivals and 8192 bytes to come`
std::string Worker::state(const Mbarrier& barrier) const {
  return "the mbarrier at byte " + std::to_string(barrier.at) + ": phase " + std::to_string(barrier.phase) + ", " +
         std::to_string(barrier.pending) + " of " + std::to_string(barrier.arrivals) + " arrivals and " +
         std::to_string(barrier.bytes) + " bytes to come";
}

Mbarrier* Worker::find_mbarrier(Block& block, uint32_t at) {
  for (Mbarrier& barrier : block.mbarriers) {
    if (barrier.at + SHARED_BASE == at) return &barrier;
  }
  return nullptr;
}

// One that this thread may use: it knows that it is there.
Mbarrier& Worker::mbarrier(uint32_t at, uint32_t rank) {
  if (rank >= blocks_.size()) fail("there is no block " + std::to_string(rank) + " in the cluster");
  Mbarrier* barrier = find_mbarrier(blocks_[rank], at);
  if (!barrier) {
    fail("there is no mbarrier at byte " + std::to_string(int64_t{at} - SHARED_BASE) + " of block " +
         std::to_string(blocks_[rank].number));
  }
  if (options_.checked) {
    const uint32_t by = barrier->init_thread;
    if (by != now().slot && order_.of(now().slot).seen[by] <= barrier->init_stamp)
      fail(state(*barrier) + ", used with no barrier between its initialisation and this");
  }
  return *barrier;
}

void Worker::mbarrier_init(uint32_t at, uint32_t arrivals) {
  check_shared(at, 8, 8, Access::Write);
  if (find_mbarrier(block_now(), at)) fail("an mbarrier is initialised twice");
  const Knowledge nothing = options_.checked ? order_.nothing() : Knowledge{};
  block_now().mbarriers.push_back({at - SHARED_BASE, arrivals, arrivals, 0, 0, new_actor(), now().slot, order_.now(),
                                   nothing, nothing, {}});
}

// The phase is complete when all have arrived and all announced bytes are there.
void Worker::complete_phase(Mbarrier& barrier) {
  if (barrier.pending || barrier.bytes) return;
  if (options_.checked) {
    barrier.complete.learn(barrier.arriving);
    barrier.complete.seen[barrier.actor] = barrier.phase + 1;
  }
  barrier.phase++;
  barrier.pending = barrier.arrivals;
  for (uint32_t slot : barrier.waiting) make_ready(slot);
  barrier.waiting.clear();
}

void Worker::mbarrier_arrive(uint32_t at, uint32_t rank, uint32_t bytes) {
  Mbarrier& barrier = mbarrier(at, rank);
  if (blocks_[rank].live == 0) fail("arrival at " + state(barrier) + ", of a block that has ended");
  if (barrier.pending == 0) fail("more arrivals than there should be: " + state(barrier));
  if (options_.checked) order_.release(now().slot, barrier.arriving);
  barrier.bytes += bytes;
  barrier.pending--;
  complete_phase(barrier);
  give_way();
}

// Waits for the end of the phase with this parity: the one under way, or the one before it, which is over.
void Worker::mbarrier_wait(uint32_t at, uint32_t parity, Site site) {
  now().passed = site;
  const uint32_t rank = now().rank;
  Mbarrier* barrier = &mbarrier(at, rank);
  if ((barrier->phase & 1) == parity) {
    barrier->waiting.push_back(now().slot);
    suspend();
    wait_turn();
    barrier = &mbarrier(at, rank);
  } else {
    give_way();
  }
  if (options_.checked) order_.acquire(now().slot, barrier->complete);
}

// A thread of a cluster has returned; of its block, the `last`.
void Worker::leave_asynchronous(Block& block, bool last) {
  Warpgroup& group = group_now();
  if (group.arrived) fail_waiting("a thread returned while others of its warpgroup wait for it");
  if (!group.products.empty()) fail("a thread returned while wgmma of its warpgroup is under way, not waited for");
  for (const StoreQueue& queue : stores_) {
    if (queue.thread == now().slot && !queue.pending.empty())
      fail("a thread returned while bulk stores of it are under way, not waited for");
  }
  if (!last) return;
  for (const PendingLoad& load : loads_) {
    if (load.rank == now().rank) fail("a block ended while bulk copies into its shared memory are under way");
  }
  for (const Mbarrier& barrier : block.mbarriers) {
    if (barrier.bytes || barrier.pending != barrier.arrivals)
      fail("a block ended in the middle of a phase, with arrivals or bytes that do not add up: " + state(barrier));
  }
}

}  // namespace emu
