// What happens to a tile's sums on their way out. A core calls, all lanes together,
//   begin(column)          before the rows of 32 columns,
//   row(m, column, v)      for each row m (it may lie past the last one), v as in quad.cuh,
//   end(rows, tile_column) after them; `rows` numbers the group of rows this warp owns.
#pragma once
#include "operands.cuh"
#include "quad.cuh"

// The largest finite value of an element type.
template <class T>
CBP_DEVICE float largest();
template <>
CBP_DEVICE float largest<float>() {
  return 3.402823466e38f;
}
template <>
CBP_DEVICE float largest<bf16_t>() {
  return 3.389531390e38f;
}
template <>
CBP_DEVICE float largest<half_t>() {
  return 65504.f;
}

// Collects whether any value of this thread was infinite, NaN or too large for its type.
struct Overflow {
  bool seen = false;

  template <class T>
  CBP_DEVICE void check(const float (&v)[8]) {
#pragma unroll
    for (int j = 0; j < 8; j++) seen |= !(fabsf(v[j]) <= largest<T>());  // true for NaN
  }
  CBP_DEVICE void raise(Global<uint32_t> flag) const {
    if (ballot(seen) != 0 && lane() == 0) atomic_or(flag, 1u);
  }
};

// forward: y = max(v + bias, 0) + x cropped by d, and the mask bit v + bias > 0.
template <class T>
struct BiasReluResidual {
  Global<const T> x;
  Global<const float> bias;
  Global<T> y;
  Global<uint32_t> mask;  // null: not wanted
  RowMap map;             // output rows, seen from x
  uint32_t channels;
  int32_t crop;
  float b[8];

  CBP_DEVICE void begin(uint32_t column) { load_row<float>(b, bias, column, true); }

  CBP_DEVICE void row(uint32_t m, uint32_t column, float (&v)[8]) {
    const bool valid = m < map.rows;
    const uint64_t at = uint64_t(m) * channels + column;
    // the residual of (n, l) is x[n, l + d]
    const RowMap::Place place = map.place(m);
    const uint64_t from = valid ? uint64_t(place.row(crop)) * channels + column : 0;
    float residual[8];
    load_row<T>(residual, x, from, valid);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] += b[j];
    if (mask) {
      const uint32_t word = positive_bits(v);
      if (valid && (lane() & 3) == 0) mask[at / 32] = word;
    }
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = (v[j] <= 0.f ? 0.f : v[j]) + residual[j];  // NaN stays NaN
    store_row<T>(y, at, v, valid);
  }

  CBP_DEVICE void end(uint32_t, uint32_t) {}
};

// dgrad: g = v + padded residual gradient, dz = g where the mask of x lets through, and the sums of
// dz over the tile's rows (the bias gradient of the layer below), of the unrounded values.
template <class T, int N, int WARPS_M>
struct ResidualMask {
  Global<const T> residual;     // gradient of the output, [B, L_out, C]
  Global<const uint32_t> mask;  // of x, [B * L_in, C / 32]
  Global<T> g;                  // [B, L_in, C], null: not wanted
  Global<T> dz;                 // [B, L_in, C]
  RowMap map;                   // rows of x, seen from the output
  uint32_t channels;
  int32_t pad;
  Overflow overflow;
  float sums[8];

  CBP_DEVICE void begin(uint32_t) {
#pragma unroll
    for (int j = 0; j < 8; j++) sums[j] = 0.f;
  }

  CBP_DEVICE void row(uint32_t m, uint32_t column, float (&v)[8]) {
    const bool valid = m < map.rows;
    const uint64_t at = uint64_t(m) * channels + column;
    // (n, l) takes the gradient of output l - d, nothing where that is cropped
    const RowMap::Place place = map.place(m);
    const bool kept = place.inside(-pad, map.source_length);
    const uint64_t from = kept ? uint64_t(place.row(-pad)) * channels + column : 0;
    float above[8];
    load_row<T>(above, residual, from, kept);
    const uint32_t word = valid ? uint32_t(mask[at / 32]) : 0;
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] += above[j];
    if (valid) overflow.template check<T>(v);
    if (g) store_row<T>(g, at, v, valid);
    const uint32_t bits = word >> (2 * (lane() & 3));
#pragma unroll
    for (int j = 0; j < 8; j++) {
      v[j] = bits >> (8 * (j / 2) + j % 2) & 1 ? v[j] : 0.f;
      sums[j] += v[j];
    }
    store_row<T>(dz, at, v, valid);
  }

  // Leaves this warp's sums in shared memory, [WARPS_M][N] at byte 0.
  CBP_DEVICE void end(uint32_t rows, uint32_t tile_column) {
    const Shared<float> partial = shared_at<float>(0);
    const uint32_t q = lane() & 3;
#pragma unroll
    for (int j = 0; j < 8; j++) {
#pragma unroll
      for (int other = 4; other < WARP; other *= 2) sums[j] += shfl_xor(sums[j], other);
      const uint32_t column = tile_column + 8 * (j / 2) + 2 * q + j % 2;
      if (lane() < 4) partial[rows * N + column] = sums[j];
    }
  }

  // column_sums[first + c] <- the sum over the tile's rows of column c, warps in order.
  CBP_DEVICE void store_sums(Global<float> column_sums, uint64_t first) const {
    block_sync();
    const Shared<float> partial = shared_at<float>(0);
    for (uint32_t c = threadIdx.x; c < N; c += blockDim.x) {
      float sum = 0.f;
#pragma unroll
      for (int w = 0; w < WARPS_M; w++) sum += partial[w * N + c];
      column_sums[first + c] = sum;
    }
  }
};

// wgrad: the sums as they are, one split's share.
struct StorePartial {
  Global<float> partial;  // [rows][channels]
  uint32_t rows, channels;
  Overflow overflow;

  CBP_DEVICE void begin(uint32_t) {}
  CBP_DEVICE void row(uint32_t m, uint32_t column, float (&v)[8]) {
    const bool valid = m < rows;
    if (valid) overflow.check<float>(v);
    store_row<float>(partial, uint64_t(m) * channels + column, v, valid);
  }
  CBP_DEVICE void end(uint32_t, uint32_t) {}
};
