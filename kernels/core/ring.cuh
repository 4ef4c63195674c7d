// Stages of shared memory in turns, filled by cp.async while others are used: the main loop of every product on mma.sync.
#pragma once
#include "../prims/prims.cuh"

// copy(step, stage) runs STAGES - 1 steps ahead of multiply(step, stage).
template <int STAGES, class Copy, class Multiply>
CBP_DEVICE void ring(uint32_t steps, Copy copy, Multiply multiply) {
  constexpr uint32_t AHEAD = STAGES - 1;
  // Every step commits one group, empty where nothing is left to copy, so that "all but the newest AHEAD - 1"
  // always includes the one of this step.
  for (uint32_t step = 0; step < AHEAD; step++) {
    if (step < steps) copy(step, step);
    cp_async_commit();
  }
  uint32_t stage = 0, refill = AHEAD;
  for (uint32_t step = 0; step < steps; step++) {
    cp_async_wait<AHEAD - 1>();
    // This thread's copies of the step have landed; the barrier says so for all threads, and that all have read the
    // stage of the step before, which is refilled next.
    block_sync();
    if (step + AHEAD < steps) copy(step + AHEAD, refill);
    cp_async_commit();
    multiply(step, stage);
    stage = stage + 1 == STAGES ? 0 : stage + 1;
    refill = refill + 1 == STAGES ? 0 : refill + 1;
  }
}
