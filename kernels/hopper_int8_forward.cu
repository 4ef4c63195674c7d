// hopper_int8_forward: int8_forward for Hopper (its mathematics, layouts and results), by wgmma and TMA
// in   q u8 [B, L, C], s f32 [B, L]   w s8 [3, C, C], tap, out, in, v f32 [3, C]   bias f32 [C]   x half [B, L, C]
//      C a multiple of 128
// out  y half [B, L-2d, C]      sums s32 within a tap, exact; f32 over taps, in order
// source: official model layer bpnet_{i}conv with its crop and add.   reference: tests/suite/kernels/int8.rs
//
//   tile          value              reason
//   block         128 rows x 128     two multipliers of 64 x 128: 64 sums of a tap and 64 of all taps a thread
//   cluster       2 blocks along m   share the weights, as in hopper_forward
//   k step        128 channels       of one tap: 128 bytes, the width of the swizzle; both operands K-major, as
//                                    wgmma wants bytes
//   stages        6 of 32 KB         beside 32 KB of staging: 230 of 232 KB
//   scales        in registers       a thread's two rows at three taps; of columns from L1 at the end of a tap
//   the rest      as hopper_forward  threads, grid, walk, staging; maps count a pair of bytes as one element
//
//   At 512 filters, batch 64:
//   floor         as int8_forward: 0.75 ms at 1,979 TOP/s (H200, data sheet), memory 0.57 ms at 4.3 TB/s
//   predicted     1.4-1.8 ms: at the full rate a block would take 48 bytes a clock from L2, all together 11 TB/s of the
//                 6 to 7 that are to be had: about 1,100 TOP/s. The end of a tap is 10 % of a multiplier's clocks, in
//                 part hidden by the other's. With quantize's 0.4-0.5 ms: 1.8-2.3 ms against hopper_forward's 2.5-2.9
//                 ms, 1.2 to 1.5 times as fast
//   measured      unmeasured
//   registers     193 of a multiplier's 224; sm_90a, nvcc 13.0; no spills, no stack
//   next          clusters of 2 x 2 blocks, which share rows too: 32 bytes a clock from L2
//   tolerance     as int8_forward, whose bits it gives: sums of a tap are exact, the rest is in the same order

#include "core/epilogue.cuh"
#include "hopper/passes.cuh"

struct HopperInt8ForwardArgs {
  TensorMap source;    // q [B, L_in, C / 2] of 16 bits, boxes of 128 positions, im2col from 0 to -2 d
  TensorMap weights;   // [3 C, C / 2] of 16 bits, boxes of 64 rows
  TensorMap residual;  // x [B, L_in, C], boxes of 128 positions, im2col from 0 to -2 d
  TensorMap result;    // y [B * L_out, C], boxes of 64 rows
  Global<const float> row_scale;     // [B, L_in]
  Global<const float> weight_scale;  // [3, C]
  Global<const float> bias;          // [C]
  RowMap map;                        // rows of y, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding[3];
};

template <class Tile>
struct HopperInt8Forward : Unaided<ForwardOperands<HopperInt8ForwardArgs>> {
  // Bytes are K-major, and the residual is not made of them.
  static constexpr bool MN_WEIGHTS = false;
  CBP_DEVICE const TensorMap& residual() const { return p.residual; }

  // y = max(v + bias, 0) + residual
  struct Rows {
    const HopperInt8ForwardArgs& p;
    float bias[8], scales[TAPS][2];
    uint32_t first_column;

    CBP_DEVICE explicit Rows(const HopperInt8Forward& pass) : p(pass.p) {}
    CBP_DEVICE void begin(uint32_t m, uint32_t n0) {
      first_column = n0 + 2 * (lane() & 3);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const RowMap::Place place = p.map.place(m + 8 * half);
#pragma unroll
        for (uint32_t tap = 0; tap < TAPS; tap++) {
          float scale = 0.f;
          if (m + 8 * half < p.map.rows) scale = p.row_scale[place.row(int32_t(tap * p.dilation))];
          scales[tap][half] = scale;
        }
      }
    }
    CBP_DEVICE void weigh(float (&total)[Tile::N / 2], const int32_t (&sums)[Tile::N / 2], uint32_t tap) const {
      const Global<const float> columns = p.weight_scale + (tap * p.channels + first_column);
      const float of_rows[] = {tap == 0 ? scales[0][0] : tap == 1 ? scales[1][0] : scales[2][0],
                               tap == 0 ? scales[0][1] : tap == 1 ? scales[1][1] : scales[2][1]};
#pragma unroll
      for (int j = 0; j < Tile::N / 8; j++) {
        const float2 of_columns = load_vec<float2>(columns, 8 * j);
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int i = 4 * j + 2 * half;
          total[i] = fmaf(of_rows[half] * of_columns.x, float(sums[i]), total[i]);
          total[i + 1] = fmaf(of_rows[half] * of_columns.y, float(sums[i + 1]), total[i + 1]);
        }
      }
    }
    CBP_DEVICE void columns(uint32_t column) { load_row<float>(bias, p.bias, column, true); }
    CBP_DEVICE void row(uint32_t, int, int, float (&v)[8], const float (&residual)[8]) {
#pragma unroll
      for (int j = 0; j < 8; j++) {
        v[j] += bias[j];
        v[j] = (v[j] <= 0.f ? 0.f : v[j]) + residual[j];  // NaN stays NaN
      }
    }
    CBP_DEVICE void end(uint32_t, uint32_t) {}
    CBP_DEVICE void finish() {}
  };
};

CBP_CLUSTER_KERNEL(hopper_int8_forward, HopperInt8ForwardArgs, HOPPER_THREADS, CLUSTER) {
  using Tile = HopperTile<uint8_t, 128, 6, true, half_t>;
  hopper_conv<Tile>(HopperInt8Forward<Tile>{{{p}}});
}
