// hopper_forward: dilated_forward for Hopper (its mathematics, layouts and results), by wgmma and TMA
// in   x T [B, L, C]   w T [3, C, C]   bias f32 [C]      C a multiple of N
// out  y T [B, L-2d, C]   mask u32 [B*(L-2d), C/32] as dilated_forward writes it, or none      sums f32
// T    half, bfloat16
// source: official model layer bpnet_{i}conv with its crop and add.   reference: engine/cpu/dilated.rs
//
//   tile          value              reason
//   block         128 rows x N       N = 256: two multipliers of 64 x 256, 128 accumulators a thread; 128 where fewer
//                                    columns or tiles are to be had
//   cluster       2 blocks along m   share the weights: each loads half, for both
//   k step        64 channels        of one tap: 128 bytes, the width of the swizzle
//   stages        3 of 48 KB, or 6 of 32    beside 64 or 32 KB of staging: 213 or 230 of 232 KB
//   threads       384                128 load, store (56 registers); 256 multiply (224)
//   grid          66 clusters        persistent: a block on each of 132 SMs (less where the GPU has less); columns
//                                    first; rows run across examples
//   mask          by rows            as everywhere: a row's 32 bytes are one sector, of 32 shuffles a thread and tile;
//                                    the order of fragments would save those and cost a second layout
//
//   At 512 filters, batch 64:
//   roofline      layer 1: 210 GFLOP, 284 MB -> 740 FLOP/B: compute bound (layer 8: 600)
//   floor         layers 1-8: 266 265 263 259 251 235 202 137 us, together 1.88 ms, at 790 TFLOP/s (H200)
//   predicted     65-75 % of that at first: 2.5-2.9 ms (the epilogue is 6-10 % of a tile's clocks, in part hidden)
//   measured      unmeasured
//   registers     of a multiplier, which has 224: N = 256 218, 128 143; sm_90a, nvcc 13.0; no spills, no stack
//                 (ptxas reports the 168 that every thread has at the start)
//   tolerance     as dilated_forward: relative L2 f16 3e-4, bf16 2.4e-3; see tests/suite/kernels/hopper

#include "core/epilogue.cuh"
#include "hopper/passes.cuh"

struct HopperForwardArgs {
  TensorMap source;   // x [B, L_in, C], boxes of 128 positions, im2col from 0 to -2 d
  TensorMap weights;  // [3 C, C], boxes of 64 rows
  TensorMap result;   // y [B * L_out, C], boxes of 64 rows
  Global<const float> bias;  // [C]
  Global<uint32_t> mask;     // [B * L_out, C / 32], or null
  RowMap map;                // rows of y, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding[5];
};

template <class Tile>
struct HopperForward : Unaided<ForwardOperands<HopperForwardArgs>> {
  // y = max(v + bias, 0) + residual, and the mask bit v + bias > 0.
  struct Rows {
    const HopperForwardArgs& p;
    float bias[8];
    uint32_t words[2][4];  // lane q of a quad keeps words 4q .. 4q + 3 of its two rows of the mask

    CBP_DEVICE explicit Rows(const HopperForward& pass) : p(pass.p) {}
    CBP_DEVICE void begin(uint32_t, uint32_t) {}
    CBP_DEVICE void columns(uint32_t column) { load_row<float>(bias, p.bias, column, true); }
    CBP_DEVICE void row(uint32_t, int half, int group, float (&v)[8], const float (&residual)[8]) {
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += bias[j];
      const uint32_t word = positive_bits(v);
      if ((lane() & 3) == uint32_t(group) / 4) words[half][group % 4] = word;
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] = (v[j] <= 0.f ? 0.f : v[j]) + residual[j];  // NaN stays NaN
    }
    CBP_DEVICE void end(uint32_t m, uint32_t n0) {
      const uint32_t q = lane() & 3;
      if (!p.mask || q >= Tile::N / 128) return;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const uint64_t at = uint64_t(m + 8 * half) * (p.channels / 32) + n0 / 32 + 4 * q;
        if (m + 8 * half < p.map.rows)
          store_vec(p.mask, at, make_uint4(words[half][0], words[half][1], words[half][2], words[half][3]));
      }
    }
    CBP_DEVICE void finish() {}
  };
};

#define HOPPER_FORWARD(type, T, n, stages)                                                           \
  CBP_CLUSTER_KERNEL(hopper_forward_##type##_n##n, HopperForwardArgs, HOPPER_THREADS, CLUSTER) {     \
    using Tile = HopperTile<T, n, stages, true>;                                                     \
    hopper_conv<Tile>(HopperForward<Tile>{{{p}}});                                                   \
  }
HOPPER_FORWARD(f16, half_t, 256, 3)
HOPPER_FORWARD(f16, half_t, 128, 6)
HOPPER_FORWARD(bf16, bf16_t, 256, 3)
HOPPER_FORWARD(bf16, bf16_t, 128, 6)
