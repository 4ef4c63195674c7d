// Operands of the heads' products on tensor cores: f32 numbers as sums of two of the element type, times a power of
// two.
//
// A number v becomes hi + lo, hi = v rounded to T, lo = v - hi rounded to T. Times the power of two that brings the
// largest magnitude of its kind into [2^13, 2^14) it is far from both ends of fp16, whatever the size of the numbers:
//   f16   22 bits: |v - hi - lo| <= 2^-22 |v|, or 2^-38 of the largest where that is more
//   bf16  16 bits: <= 2^-17 |v|, 2.8e-6 of it in the root mean square (core/math.cuh)
// Infinity and NaN stay what they are. The power is taken back in f32, where it costs no bits.
//
// Two parts are enough for bf16, too: the feature map and its gradient are rounded to 8 bits, which is 600 times as
// much, and a third part would cost half as many products again.
#pragma once

#include "core/math.cuh"
#include "core/ring.cuh"
#include "small.cuh"

// Bits of |v|: as integers they are ordered like the numbers, with infinity and NaN above all.
CBP_DEVICE uint32_t magnitude(float v) { return float_bits(v) & 0x7fffffffu; }

CBP_DEVICE uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

// The largest of a warp, in every lane.
CBP_DEVICE uint32_t largest_of_warp(uint32_t v) {
#pragma unroll
  for (uint32_t d = FULL_WARP / 2; d > 0; d /= 2) v = larger(v, shfl_xor(v, d));
  return v;
}

// The largest of a block, in every thread; `scratch` has WARPS words of its own.
template <int WARPS>
CBP_DEVICE uint32_t largest_of_block(uint32_t v, Shared<uint32_t> scratch) {
  v = largest_of_warp(v);
  if (lane() == 0) scratch[warp()] = v;
  block_sync();
#pragma unroll
  for (int w = 0; w < WARPS; w++) {
    const uint32_t other = scratch[w];
    v = larger(v, other);
  }
  return v;
}

// A power of two and its inverse, both normal numbers.
struct Power {
  float up, down;

  // For the largest of some magnitudes. Below 2^-113 the power stays 2^126.
  CBP_DEVICE explicit Power(uint32_t largest) {
    const uint32_t exponent = largest >> 23;  // 127 for [1, 2), 255 for infinity and NaN
    const uint32_t biased = exponent < 14 ? 253 : 127 + 13 + 127 - exponent;
    up = bits_float(biased << 23);
    down = bits_float((254 - biased) << 23);
  }
};

// hi + lo = x in the low halves, y in the high ones.
template <class T>
CBP_DEVICE void split2(uint32_t& hi, uint32_t& lo, float x, float y) {
  hi = pack2<T>(x, y);
  const float2 h = unpack2<T>(hi);
  lo = pack2<T>(x - h.x, y - h.y);
}

// f(row, chunk) for this thread's chunks of 16 bytes of a stage.
template <class Stage, int THREADS, class F>
CBP_DEVICE void each_chunk(F f) {
  constexpr int CHUNKS = Stage::ROWS * Stage::CHUNKS;
#pragma unroll
  for (int i = 0; i < (CHUNKS + THREADS - 1) / THREADS; i++) {
    const uint32_t chunk = threadIdx.x + i * THREADS;
    if (CHUNKS % THREADS == 0 || chunk < CHUNKS) f(chunk / Stage::CHUNKS, chunk % Stage::CHUNKS);
  }
}
