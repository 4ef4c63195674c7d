// The two passes whose k is (tap, channel), up to their epilogues. Training and DeepSHAP share them.
// `Args` has the fields that are named here, with the meaning of DilatedForwardArgs, DilatedDgradArgs.
#pragma once
#include "operands.cuh"
#include "plain_core.cuh"
#include "tensor_core.cuh"

// Where this block's tile begins, and the number of its row tile.
struct TilePlace {
  uint32_t m0, n0, tile_m;
};

// Column tiles of a row tile on end: their blocks run together and share x in L2.
template <class Core>
CBP_DEVICE TilePlace tile_place(uint32_t channels) {
  const uint32_t tiles_n = channels / Core::N;
  const uint32_t tile_m = blockIdx.x / tiles_n, tile_n = blockIdx.x % tiles_n;
  return {tile_m * Core::M, tile_n * Core::N, tile_m};
}

// sums += x at three taps, times w
template <class Core, class Args>
CBP_DEVICE void forward_sums(typename Core::Sums& sums, const Args& p, const TilePlace& tile) {
  TapOperands<Core> operands{
      {p.x, p.channels, p.map, int32_t(p.dilation), tile.m0},
      {p.weights, p.channels, tile.n0},
      {7u, p.channels},  // all taps
  };
  Core::accumulate(sums, operands, TAPS * p.channels / Core::K);
}

// sums += dz_out at three taps, times w transposed. x[n, l] reached the outputs l - t d. Taps that fall
// outside for the whole tile are left out: a third of them at d = 256.
template <class Core, class Args>
CBP_DEVICE void dgrad_sums(typename Core::Sums& sums, const Args& p, const TilePlace& tile) {
  const int32_t dilation = p.dilation;
  const uint32_t taps = p.map.taps(tile.m0, Core::M, -dilation);
  TapOperands<Core> operands{
      {p.dz_out, p.channels, p.map, -dilation, tile.m0},
      {p.weights, p.channels, tile.n0},
      {taps, p.channels},
  };
  Core::accumulate(sums, operands, popcount(taps) * p.channels / Core::K);
}
