// hopper_rescale_forward: rescale_forward for Hopper (its mathematics, layouts and results), by wgmma and TMA
// in   x T [B, L, C]   w T [3, C, C]   bias f32 [C]   z_x f32 [B / references, L-2d, C]     C a multiple of N
// out  y T [B, L-2d, C]   z f32 or ratio T [B, L-2d, C]
// T    half, bfloat16
// source: kundajelab-shap, TFDeepExplainer: Relu.   reference: engine/cpu
//
// Equal inputs give equal bits of z, whatever tile and row they fall into: every row takes all taps and channels in one
// order, by the same instruction, whose sum of 16 products does not look at the other rows or columns. Taps outside do
// not occur, and zeros of rows past the last reach no other row. So sequences and references have to take this
// kernel both, at one N; ops/rescale/hopper.rs sees to that.
//
//   tile          as hopper_forward, whose main loop this is (hopper/passes.cuh)
//   z, z_x        between registers and memory, 8 bytes a lane and whole sectors (core/quad.cuh): 128 KB a tile, for
//                 which there is no room beside the stages. z_x is asked for ahead (hopper/ahead.cuh): the first 32
//                 columns during the main loop, the others a row of a thread before; of 20 references 19 find it in L2
//   ratio         from registers, 16 bytes a lane after a transposition in the quad; y through staging
//   quotient      a reciprocal and a product, good to 2 ulp of f32 (rescale.cuh): a branch and a division for each of
//                 128 values of a thread would be half of the epilogue
//
//   At 512 filters, 64 references:
//   floor         as hopper_forward: 1.88 ms for eight layers at 790 TFLOP/s (H200)
//   memory        as rescale_forward, layer 1: 99 us of 266 at 4.3 TB/s (H200)
//   predicted     60-70 % of the floor at first, 2.7-3.1 ms (rescale_forward: 55-60 %): the epilogue's 2400
//                 instructions a thread and tile are 4800 clocks of a scheduler beside 24,576 of wgmma, where
//                 hopper_forward has 2400
//   measured      unmeasured
//   registers     of a multiplier, which has 224: N = 256 219, 128 156; sm_90a, nvcc 13.0; no spills, no stack
//                 (with 32 columns more of z_x ahead they would spill)
//   tolerance     as rescale_forward in 16 bits; see tests/suite/kernels/hopper/rescale.rs

#include "core/epilogue.cuh"
#include "hopper/ahead.cuh"
#include "hopper/passes.cuh"
#include "rescale.cuh"

template <class T>
struct HopperRescaleForwardArgs {
  TensorMap source;   // x [B, L_in, C], boxes of 128 positions, im2col from 0 to -2 d
  TensorMap weights;  // [3 C, C], boxes of 64 rows
  TensorMap result;   // y [B * L_out, C], boxes of 64 rows
  Global<const float> bias;  // [C]
  Rescale<T> rescale;        // [.., L_out, C]
  RowMap map;                // rows of y, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding[13];
};

template <class Tile>
struct HopperRescaleForward : Unaided<ForwardOperands<HopperRescaleForwardArgs<typename Tile::T>>> {
  using T = typename Tile::T;

  // y = max(z, 0) + residual with z = v + bias; z itself, or its ratio to the sequence's z.
  struct Rows {
    struct Eight {
      float v[8];
    };
    const HopperRescaleForwardArgs<T>& p;
    uint32_t n0, from[2];  // rows of z_x
    float bias[8];
    Ahead<Eight, Tile::N / 32, 1> z_x;

    CBP_DEVICE explicit Rows(const HopperRescaleForward& pass) : p(pass.p) {}
    CBP_DEVICE void begin(uint32_t m, uint32_t first_column) {
      n0 = first_column;
      if (!p.rescale.x) return;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        // Rows past the last read the first, and keep nothing of it.
        from[half] = m + 8 * half < p.map.rows ? p.rescale.row_of_x(m + 8 * half, p.map.length) : 0;
      }
      z_x.begin([&](int half, int group) { return load(half, group); });
    }
    CBP_DEVICE void columns(uint32_t column) { load_row<float>(bias, p.bias, column, true); }
    CBP_DEVICE Eight load(int half, int group) const {
      Eight row;
      load_row<float>(row.v, p.rescale.x, uint64_t(from[half]) * p.channels + n0 + 32 * group, true);
      return row;
    }
    CBP_DEVICE void row(uint32_t m, int half, int group, float (&v)[8], const float (&residual)[8]) {
      const bool valid = m < p.map.rows;
      const uint64_t at = uint64_t(m) * p.channels + n0 + 32 * group;
      float relu[8];
#pragma unroll
      for (int j = 0; j < 8; j++) {
        v[j] += bias[j];
        relu[j] = v[j] <= 0.f ? 0.f : v[j];  // NaN stays NaN
      }
      if (p.rescale.kept) store_row<float>(p.rescale.kept, at, v, valid);
      if (p.rescale.ratio) {
        const Eight& x = z_x.at(half, group);
        float ratio[8];
#pragma unroll
        for (int j = 0; j < 8; j++) ratio[j] = short_rescale_ratio(p.rescale.x ? x.v[j] : v[j], v[j]);
        if (p.rescale.x) z_x.next(half, group, [&](int half, int group) { return load(half, group); });
        store_row<T>(p.rescale.ratio, at, ratio, valid);
      }
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] = relu[j] + residual[j];
    }
    CBP_DEVICE void end(uint32_t, uint32_t) {}
    CBP_DEVICE void finish() {}
  };
};

#define HOPPER_RESCALE_FORWARD(type, T, n, stages)                                                                 \
  CBP_CLUSTER_KERNEL(hopper_rescale_forward_##type##_n##n, HopperRescaleForwardArgs<T>, HOPPER_THREADS, CLUSTER) { \
    using Tile = HopperTile<T, n, stages, true>;                                                                   \
    hopper_conv<Tile>(HopperRescaleForward<Tile>{{{p}}});                                                          \
  }
HOPPER_RESCALE_FORWARD(f16, half_t, 256, 3)
HOPPER_RESCALE_FORWARD(f16, half_t, 128, 6)
HOPPER_RESCALE_FORWARD(bf16, bf16_t, 256, 3)
HOPPER_RESCALE_FORWARD(bf16, bf16_t, 128, 6)
