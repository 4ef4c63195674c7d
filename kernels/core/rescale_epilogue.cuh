// Epilogues of DeepSHAP's passes; called as core/epilogue.cuh says.
#pragma once
#include "../rescale.cuh"
#include "epilogue.cuh"

// forward: y = max(z, 0) + x cropped by d, z = v + bias, and z or its ratio to the sequence's z.
template <class T>
struct BiasReluRescale {
  Global<const T> x;
  Global<const float> bias;
  Global<T> y;
  Rescale<T> rescale;
  RowMap map;  // output rows, seen from x
  uint32_t channels;
  int32_t crop;
  float b[8];

  CBP_DEVICE void begin(uint32_t column) { load_row<float>(b, bias, column, true); }

  CBP_DEVICE void row(uint32_t m, uint32_t column, float (&v)[8]) {
    const bool valid = m < map.rows;
    const uint64_t at = uint64_t(m) * channels + column;
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] += b[j];
    if (rescale.kept) store_row<float>(rescale.kept, at, v, valid);
    if (rescale.ratio) {
      float ratio[8];
      if (rescale.x) {
        const uint64_t from = valid ? uint64_t(rescale.row_of_x(m, map.length)) * channels + column : 0;
        load_row<float>(ratio, rescale.x, from, valid);
      } else {
#pragma unroll
        for (int j = 0; j < 8; j++) ratio[j] = v[j];
      }
#pragma unroll
      for (int j = 0; j < 8; j++) ratio[j] = rescale_ratio(ratio[j], v[j]);
      store_row<T>(rescale.ratio, at, ratio, valid);
    }
    // the residual of (n, l) is x[n, l + d]
    const uint64_t from = valid ? uint64_t(map.place(m).row(crop)) * channels + column : 0;
    float residual[8];
    load_row<T>(residual, x, from, valid);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] = (v[j] <= 0.f ? 0.f : v[j]) + residual[j];  // NaN stays NaN
    store_row<T>(y, at, v, valid);
  }

  CBP_DEVICE void end(uint32_t, uint32_t) {}
};

// dgrad: g = v + padded residual multipliers, dz = g times the ratio of the ReLU below.
template <class T>
struct ResidualRescale {
  Global<const T> residual;  // multipliers of the output, [B, L_out, C]
  Global<const T> ratio;     // of x, [ratio_rows, C]; the rows of a second head have the same ratios
  Global<T> g;               // [B, L_in, C], null: not wanted
  Global<T> dz;              // [B, L_in, C]
  RowMap map;                // rows of x, seen from the output
  uint32_t channels;
  int32_t pad;
  uint32_t ratio_rows;
  Overflow overflow;

  CBP_DEVICE void begin(uint32_t) {}

  CBP_DEVICE void row(uint32_t m, uint32_t column, float (&v)[8]) {
    const bool valid = m < map.rows;
    const uint64_t at = uint64_t(m) * channels + column;
    // (n, l) takes the multipliers of output l - d, nothing where that is cropped
    const RowMap::Place place = map.place(m);
    const bool kept = place.inside(-pad, map.source_length);
    const uint64_t from = kept ? uint64_t(place.row(-pad)) * channels + column : 0;
    float other[8];
    load_row<T>(other, residual, from, kept);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] += other[j];
    if (valid) overflow.template check<T>(v);
    if (g) store_row<T>(g, at, v, valid);
    const uint32_t ratio_row = m < ratio_rows ? m : m - ratio_rows;
    load_row<T>(other, ratio, valid ? uint64_t(ratio_row) * channels + column : 0, valid);
#pragma unroll
    for (int j = 0; j < 8; j++) v[j] *= other[j];
    store_row<T>(dz, at, v, valid);
  }

  CBP_DEVICE void end(uint32_t, uint32_t) {}
};
