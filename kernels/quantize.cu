// quantize: rows of a feature map as bytes with a scale each, for int8_forward
//   s[r] = max_c x[r,c] / 255     q[r,c] = x[r,c] / s[r], to the nearest, halves up; 0 in a row of zeros
//   a row with an infinity or a NaN: s = NaN, q = 0, so that whatever is made of it is NaN
// in   x half [rows, C], not negative (maps follow a ReLU and a residual that is none)      C a multiple of 32
// out  q u8 [rows, K], zeros from C on   s f32 [rows]      K: C rounded up to 64
// source: ours.   reference: tests/suite/kernels/int8.rs
//
// A scale of its own makes a row's bytes independent of the batch and of any data before. The quotient is a product
// with 255 / max: close to a half between two bytes it may take the other one; the largest always becomes 255.
//
//   block         256 threads        a warp a row, 16 bytes a lane and load
//   passes        2                  the largest, then the bytes; the second reads the row, 1 KB of 512 filters, in L1
//   grid          rows / 8
//
//   At 512 filters, batch 64:
//   floor         layer 1: 137 MB read, 69 MB written: 48 us at 4.3 TB/s (H200), 101 us at 2.04 (A100, data sheet);
//                 layers 1-8: 0.36, 0.76 ms
//   predicted     75-90 % of that bandwidth
//   measured      unmeasured
//   registers     28, the most of sm_80, 86, 89, 90, 100, 120, nvcc 13.0; no spills, no stack
//   tolerance     exact: one division, one fused product and sum, and a cut an element; see tests/suite/kernels/int8.rs

#include "small.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / 32;
constexpr uint32_t PER_LANE = 8;  // halves in 16 bytes

struct QuantizeArgs {
  Global<const half_t> x;  // [rows, channels]
  Global<uint8_t> q;       // [rows, depth]
  Global<float> scale;     // [rows]
  uint32_t rows;
  uint32_t channels;
  uint32_t depth;
  uint32_t padding;
};

// Eight elements of a row.
CBP_DEVICE void load8(float (&v)[PER_LANE], Global<const half_t> x, size_t at) {
  const uint4 raw = load_vec<uint4>(x, at);
  const uint32_t pairs[] = {raw.x, raw.y, raw.z, raw.w};
#pragma unroll
  for (uint32_t j = 0; j < PER_LANE / 2; j++) {
    const float2 pair = unpack2<half_t>(pairs[j]);
    v[2 * j] = pair.x;
    v[2 * j + 1] = pair.y;
  }
}

// NaN wins, over what comes before and after it.
CBP_DEVICE float larger(float a, float b) { return b <= a || a != a ? a : b; }

CBP_KERNEL(quantize_f16, QuantizeArgs, THREADS, 6) {
  const uint32_t row = blockIdx.x * WARPS + warp();
  if (row >= p.rows) return;  // with its whole warp
  const Global<const half_t> x = p.x + (size_t)row * p.channels;
  const Global<uint8_t> q = p.q + (size_t)row * p.depth;
  float v[PER_LANE];

  float largest = 0.f;
  for (uint32_t c = lane() * PER_LANE; c < p.channels; c += 32 * PER_LANE) {
    load8(v, x, c);
#pragma unroll
    for (uint32_t j = 0; j < PER_LANE; j++) largest = larger(largest, v[j]);
  }
  for (uint32_t d = 16; d > 0; d /= 2) largest = larger(largest, shfl_xor(largest, d));

  const bool finite = fits<float>(largest);
  const float per_unit = finite && largest > 0.f ? 255.f / largest : 0.f;
  if (lane() == 0) p.scale[row] = finite ? largest / 255.f : bits_float(0x7FC00000u);
  for (uint32_t c = lane() * PER_LANE; c < p.depth; c += 32 * PER_LANE) {
    uint32_t bytes[2] = {};
    if (finite && c < p.channels) {
      load8(v, x, c);
#pragma unroll
      for (uint32_t j = 0; j < PER_LANE; j++)
        bytes[j / 4] |= uint32_t(fmaf(v[j], per_unit, 0.5f)) << (8 * (j % 4));
    }
    store_vec(q, c, make_uint2(bytes[0], bytes[1]));
  }
}
