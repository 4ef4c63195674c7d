// Who knows what of whom: vector clocks, for races whatever the schedule was.
//
// An *actor* is a thread of the cluster, or work that it has given away: the copies that report to one mbarrier, the
// products of one warpgroup, the stores of one thread. Everything an actor does carries a stamp, and an access comes
// after it only if its thread knows that the actor has gone past that stamp. Threads learn by synchronising:
//   block_sync, warp_sync, cluster_sync      all of them learn what any of them knew
//   arrival at an mbarrier, wait             the waiter learns what those who arrived knew, and that the phase's copies
//                                            are there
//   wgmma_wait, store_wait                   the thread learns that its own given-away work is done
// A stamp of a thread is the cluster's time, which every release moves on; of an actor that is no thread, the number of
// the phase or group. Knowing more than a stamp is knowing that what carried it is over.
#pragma once
#include <cstdint>
#include <vector>

namespace emu {

struct Knowledge {
  std::vector<uint32_t> seen;    // by actor
  std::vector<uint32_t> fenced;  // what of it a proxy fence separates from now: all that asynchronous work may touch

  void learn(const Knowledge& other);
};

class Order {
 public:
  // Of a new cluster: nobody knows anything. `others`: actors that are no threads.
  void start(uint32_t threads, uint32_t others);

  uint32_t now() const { return now_; }
  const Knowledge& of(uint32_t thread) const { return known_[thread]; }
  // A new actor, or 0 when there are too many.
  uint32_t add_actor() { return actors_ < width_ ? actors_++ : 0; }
  Knowledge nothing() const { return {std::vector<uint32_t>(width_, 0), std::vector<uint32_t>(width_, 0)}; }

  // Threads [first, first + count) meet.
  void meet(uint32_t first, uint32_t count);
  // What the thread has done and knows goes into `to`.
  void release(uint32_t thread, Knowledge& to);
  void acquire(uint32_t thread, const Knowledge& from) { known_[thread].learn(from); }
  // The actor's stamps below `end` are over.
  void learn(uint32_t thread, uint32_t actor, uint32_t end);
  void proxy_fence(uint32_t thread);
  // What every thread of [first, first + count) knows.
  Knowledge common(uint32_t first, uint32_t count) const;

 private:
  uint32_t now_ = 0, width_ = 0, actors_ = 0;
  std::vector<Knowledge> known_;
};

}  // namespace emu
