// hopper_dgrad: dilated_dgrad for Hopper (its mathematics, layouts and results), by wgmma and TMA; but the column sums
//   add up dz as it is stored, rounded
// in   dz_out, g_out T [B, L-2d, C]   w T [3, C, C]   mask u32 [B*L, C/32] of x      C a multiple of N
// out  g T [B, L, C], or none (layer 1)   dz T [B, L, C]   column sums f32 [row tiles of 128, C]
//      overflow: raised when a value of g is not finite or too large for T
// T    half, bfloat16
// source: gradient of the official layer bpnet_{i}conv and its add.   reference: engine/cpu/dilated.rs
//
//   tile          as hopper_forward; w is read as it is, k-major
//   taps          those that touch the cluster's rows; without it 7 % more work than forward
//   g             from registers, 16 bytes a lane after a transposition in the quad; dz through staging
//   sums          by the two spare warps, from staging: 64 KB a tile, beside 24,576 clocks of wgmma
//
//   At 512 filters, batch 64:
//   roofline      layer 2: 210 GFLOP, 557 MB -> 376 FLOP/B: compute bound (layer 8: 303)
//   floor         as forward: 1.88 ms for eight layers at 790 TFLOP/s (H200)
//   memory        layer 2: 130 us at 4.3 TB/s (H200)
//   predicted     65-75 % of the floor at first: 2.5-2.9 ms
//   measured      unmeasured
//   registers     of a multiplier, as hopper_forward: N = 256 219, 128 134; no spills, no stack
//   tolerance     relative L2: f16 3e-4, bf16 2.4e-3 (one rounding of g); column sums as much; see
//                 tests/suite/kernels/hopper

#include "core/epilogue.cuh"
#include "hopper/passes.cuh"

template <class T>
struct HopperDgradArgs {
  TensorMap source;    // dz_out [B, L_out, C], boxes of 128 positions, im2col from -2 d to 0
  TensorMap weights;   // [3 C, C], boxes of N / 2 rows
  TensorMap residual;  // g_out, as dz_out
  TensorMap result;    // dz [B * L_in, C], boxes of 64 rows
  Global<const uint32_t> mask;  // [B * L_in, C / 32], of x
  Global<T> g;                  // [B, L_in, C], or null
  Global<float> column_sums;    // [row tiles][C]
  Global<uint32_t> overflow;    // raised to 1
  RowMap map;                   // rows of x, seen from the output
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding;
};

template <class Tile>
struct HopperDgrad : DgradOperands<HopperDgradArgs<typename Tile::T>> {
  using T = typename Tile::T;
  using DgradOperands<HopperDgradArgs<T>>::p;
  static constexpr uint32_t STORERS = 3;

  // Column sums over a tile's rows, half of the columns each: a lane adds up 16 bytes of columns over a part of the
  // rows, then the parts are added.
  template <class Conv>
  CBP_DEVICE void help(const Conv& conv, uint32_t spare) const {
    constexpr uint32_t PIECES = Tile::N / 2 / 8, ROWS = Tile::M * PIECES / 32;
    const uint32_t column = spare * (Tile::N / 2) + lane() % PIECES * 8, first = lane() / PIECES * ROWS;
    for (Walk at = conv.walk(); at.more(); at.next()) {
      const uint32_t m0 = conv.first_row(at);
      for (uint32_t multiplier = 0; multiplier < MULTIPLIERS; multiplier++)
        Conv::Staging::ready(multiplier).wait(at.parity());
      float sums[8] = {};
#pragma unroll 4
      for (uint32_t row = first; row < first + ROWS; row++) {
        const uint4 words = load_vec<uint4>(shared_at<uint4>(staged<Tile>(row, column)), 0);
        const uint32_t w[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const float2 pair = unpack2<T>(w[j]);
          sums[2 * j] += pair.x;
          sums[2 * j + 1] += pair.y;
        }
      }
      warp_sync();
      if (lane() == 0) Conv::Staging::empty().arrive();
#pragma unroll
      for (int j = 0; j < 8; j++) {
#pragma unroll
        for (uint32_t other = PIECES; other < 32; other *= 2) sums[j] += shfl_xor(sums[j], other);
      }
      if (lane() < PIECES && m0 < p.map.rows) {
        const uint64_t to = uint64_t(m0 / Tile::M) * p.channels + conv.first_column(at) + column;
        store_vec(p.column_sums, to, make_float4(sums[0], sums[1], sums[2], sums[3]));
        store_vec(p.column_sums, to + 4, make_float4(sums[4], sums[5], sums[6], sums[7]));
      }
    }
  }

  // g = v + residual, dz = g where the mask lets through.
  struct Rows {
    const HopperDgradArgs<T>& p;
    uint32_t words[2][4];  // lane q of a quad has words 4q .. 4q + 3 of its two rows of the mask
    uint64_t n0;
    Overflow overflow;

    CBP_DEVICE explicit Rows(const HopperDgrad& pass) : p(pass.p) {}
    CBP_DEVICE void begin(uint32_t m, uint32_t first_column) {
      n0 = first_column;
      const uint32_t q = lane() & 3;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const uint32_t row = m + 8 * half;
        const bool valid = row < p.map.rows && q < Tile::N / 128;
        const uint64_t at = uint64_t(row) * (p.channels / 32) + first_column / 32 + 4 * q;
        const uint4 bits = valid ? load_vec<uint4>(p.mask, at) : make_uint4(0, 0, 0, 0);
        words[half][0] = bits.x;
        words[half][1] = bits.y;
        words[half][2] = bits.z;
        words[half][3] = bits.w;
      }
    }
    CBP_DEVICE void columns(uint32_t) {}
    CBP_DEVICE void row(uint32_t m, int half, int group, float (&v)[8], const float (&residual)[8]) {
      const bool valid = m < p.map.rows;
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += residual[j];
      overflow.template check<T>(v);  // rows that do not exist are zeros
      if (p.g) store_row<T>(p.g, uint64_t(m) * p.channels + n0 + 32 * group, v, valid);
      const uint32_t word = shfl(words[half][group % 4], (lane() & ~3u) + group / 4);
      const uint32_t bits = word >> (2 * (lane() & 3));
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] = bits >> (8 * (j / 2) + j % 2) & 1 ? v[j] : 0.f;
    }
    CBP_DEVICE void end(uint32_t, uint32_t) {}
    CBP_DEVICE void finish() { overflow.raise(p.overflow); }
  };
};

#define HOPPER_DGRAD(type, T, n, stages)                                                         \
  CBP_CLUSTER_KERNEL(hopper_dgrad_##type##_n##n, HopperDgradArgs<T>, HOPPER_THREADS, CLUSTER) {  \
    using Tile = HopperTile<T, n, stages, true>;                                                 \
    hopper_conv<Tile>(HopperDgrad<Tile>{{p}});                                                   \
  }
HOPPER_DGRAD(f16, half_t, 256, 3)
HOPPER_DGRAD(f16, half_t, 128, 6)
HOPPER_DGRAD(bf16, bf16_t, 256, 3)
HOPPER_DGRAD(bf16, bf16_t, 128, 6)
