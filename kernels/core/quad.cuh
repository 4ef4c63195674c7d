// 32 columns of one row of a result lie in the four lanes of a quad: lane q holds columns 8j + 2q
// and 8j + 2q + 1 for j = 0..3, as v[2j] and v[2j + 1] (the accumulator layout of mma.sync). In
// memory they are 32 elements on end. The functions here move between the two; all lanes of the warp
// call them together, and lanes of a row that does not exist pass valid = false.
#pragma once
#include "../prims/prims.cuh"

// Lane q's word j becomes lane j's word q.
CBP_DEVICE void transpose_quad(uint32_t (&w)[4]) {
  const bool odd = lane() & 1, high = lane() & 2;
#pragma unroll
  for (int j = 0; j < 4; j += 2) {  // inside 2 x 2 blocks
    const uint32_t got = shfl_xor(odd ? w[j] : w[j + 1], 1);
    w[j] = odd ? got : w[j];
    w[j + 1] = odd ? w[j + 1] : got;
  }
#pragma unroll
  for (int j = 0; j < 2; j++) {  // the two blocks off the diagonal
    const uint32_t got = shfl_xor(high ? w[j] : w[j + 2], 2);
    w[j] = high ? got : w[j];
    w[j + 2] = high ? w[j + 2] : got;
  }
}

// w <- 32 elements of 16 bits from `first` on, zeros if not valid: 16 bytes a lane, 64 on end a quad.
template <class T>
CBP_DEVICE void load_packed_row(uint32_t (&w)[4], Global<const T> source, uint64_t first, bool valid) {
  const uint4 words = valid ? load_vec<uint4>(source, first + 8 * (lane() & 3)) : make_uint4(0, 0, 0, 0);
  w[0] = words.x;
  w[1] = words.y;
  w[2] = words.z;
  w[3] = words.w;
}
// v <- them.
template <class T>
CBP_DEVICE void unpack_row(float (&v)[8], uint32_t (&w)[4]) {
  transpose_quad(w);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const float2 pair = unpack2<T>(w[j]);
    v[2 * j] = pair.x;
    v[2 * j + 1] = pair.y;
  }
}

// v <- the 32 elements from `first` on, zeros if not valid.
template <class T>
CBP_DEVICE void load_row(float (&v)[8], Global<const T> source, uint64_t first, bool valid) {
  if constexpr (sizeof(T) == 4) {
    const uint32_t q = lane() & 3;
    // 8 bytes a lane, 32 on end a quad: whole sectors
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const float2 pair =
          valid ? load_vec<float2>(source, first + 8 * j + 2 * q) : make_float2(0.f, 0.f);
      v[2 * j] = pair.x;
      v[2 * j + 1] = pair.y;
    }
  } else {
    uint32_t w[4];
    load_packed_row<T>(w, source, first, valid);
    unpack_row<T>(v, w);
  }
}

// The 32 elements from `first` on <- v, rounded to T.
template <class T>
CBP_DEVICE void store_row(Global<T> to, uint64_t first, const float (&v)[8], bool valid) {
  const uint32_t q = lane() & 3;
  if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int j = 0; j < 4; j++)
      if (valid) store_vec(to, first + 8 * j + 2 * q, make_float2(v[2 * j], v[2 * j + 1]));
  } else {
    uint32_t w[4];
#pragma unroll
    for (int j = 0; j < 4; j++) w[j] = pack2<T>(v[2 * j], v[2 * j + 1]);
    transpose_quad(w);
    if (valid) store_vec(to, first + 8 * q, make_uint4(w[0], w[1], w[2], w[3]));
  }
}

// Bit c of the result <- v of column c is above zero; the whole quad gets it.
CBP_DEVICE uint32_t positive_bits(const float (&v)[8]) {
  const uint32_t q = lane() & 3;
  uint32_t word = 0;
#pragma unroll
  for (int j = 0; j < 4; j++) {
    word |= uint32_t(v[2 * j] > 0.f) << (8 * j + 2 * q);
    word |= uint32_t(v[2 * j + 1] > 0.f) << (8 * j + 2 * q + 1);
  }
  word |= shfl_xor(word, 1);
  return word | shfl_xor(word, 2);
}
