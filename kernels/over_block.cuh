// One value of all threads of a block, combined in a fixed order: thread, warp, block.
#pragma once

#include "prims/prims.cuh"

constexpr uint32_t SUM_THREADS = 256;
constexpr uint32_t SUM_WARPS = SUM_THREADS / 32;

struct Sum {
  CBP_DEVICE static double of(double a, double b) { return a + b; }
};
struct Max {
  // NaN wins, so that a broken logit shows.
  CBP_DEVICE static double of(double a, double b) { return a > b || a != a ? a : b; }
};

// One value of all threads of the block, the same in each; `scratch` has SUM_WARPS doubles that no
// thread is still reading.
template <class Op>
CBP_DEVICE double over_block(double v, Shared<double> scratch) {
  for (uint32_t d = 16; d > 0; d /= 2) v = Op::of(v, shfl_xor(v, d));
  if (lane() == 0) scratch[warp()] = v;
  block_sync();
  double all = scratch[0];
  for (uint32_t w = 1; w < SUM_WARPS; w++) {
    const double other = scratch[w];
    all = Op::of(all, other);
  }
  return all;
}
