// The gradient of the last feature map on FFMA: what head.cu, for f32, and rescale_head.cu, for every type, share.
//
// A tile is 128 rows x 64 channels, 128 threads of 8 x 8. Row t and tap k meet at dlogits[t - k], so a thread's 8
// factors slide: one read of shared memory for 64 FMA.
#pragma once

#include "small.cuh"

constexpr uint32_t ROWS = 128;      // of a tile of the forward and of this gradient
constexpr uint32_t THREADS = 128;
constexpr uint32_t CHANNELS = 64;   // of a tile of either gradient
constexpr uint32_t TAP_CHUNK = 80;  // taps whose weights are in shared memory

// A thread's 8 rows (channels, in the gradients) are two runs of 4, half a tile apart: then 8 lanes
// read 128 neighbouring bytes.
CBP_DEVICE constexpr uint32_t of_two_runs(uint32_t first, uint32_t i, uint32_t tile) {
  return first + i % 4 + i / 4 * (tile / 2);
}

// sums += sum_k dlogits[t - crop - k] w[k][c] for the tile's rows from `first` and channels from `c0`, of which `here`
// (32 or 64) exist. `dlogits` are the example's; `Args` has the fields of HeadInputGradient.
template <class Args>
CBP_DEVICE void add_profile(float (&sums)[8][8], const Args& p, Global<float> dlogits, uint32_t first, uint32_t c0,
                            uint32_t here) {
  const Shared<float> ws = shared_at<float>(0);                         // [TAP_CHUNK][CHANNELS]
  const Shared<float> ds = shared_at<float>(TAP_CHUNK * CHANNELS * 4);  // [ROWS + TAP_CHUNK - 1]
  const uint32_t row0 = threadIdx.x / 8 * 8, channel = threadIdx.x % 8 * 4;
  for (uint32_t k0 = 0; k0 < p.width; k0 += TAP_CHUNK) {
    const uint32_t taps = p.width - k0 < TAP_CHUNK ? p.width - k0 : TAP_CHUNK;
    // ds[i] = dlogits at first + i - (TAP_CHUNK - 1) - crop - k0; 0 outside
    block_sync();
    for (uint32_t i = threadIdx.x; i < ROWS + TAP_CHUNK - 1; i += THREADS) {
      const int32_t at = (int32_t)(first + i) - (int32_t)(TAP_CHUNK - 1 + p.crop + k0);
      float d = 0.0f;
      if (at >= 0 && at < (int32_t)p.outputlen) d = dlogits[at];
      ds[i] = d;
    }
    for (uint32_t i = threadIdx.x; i < TAP_CHUNK * CHANNELS; i += THREADS) {
      const uint32_t k = i / CHANNELS, c = i % CHANNELS;
      float w = 0.0f;
      if (k < taps && c < here) w = p.w[(size_t)(k0 + k) * p.channels + c0 + c];
      ws[i] = w;
    }
    block_sync();
    // window[i] = dlogits[row0 + i - k]: a step of k moves it by one.
    const uint32_t at = row0 + TAP_CHUNK - 1;
    float window[8];
#pragma unroll
    for (uint32_t i = 0; i < 7; i++) window[i] = ds[at + i + 1];
#pragma unroll 8  // so that the window moves by renaming registers
    for (uint32_t k = 0; k < TAP_CHUNK; k++) {
      if (k % 8 == 0 && k >= taps) break;  // the weights of taps up to the next 8 are zero
#pragma unroll
      for (uint32_t i = 7; i > 0; i--) window[i] = window[i - 1];
      window[0] = ds[at - k];
      const float4 low = load_vec<float4>(ws, k * CHANNELS + channel);
      const float4 high = load_vec<float4>(ws, k * CHANNELS + channel + CHANNELS / 2);
      const float w[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 8; j++) sums[i][j] += window[i] * w[j];
      }
    }
  }
}
