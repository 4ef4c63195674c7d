// hopper_rescale_dgrad: rescale_dgrad for Hopper (its mathematics, layouts and results), by wgmma and TMA
// in   dz_out, g_out T [B, L-2d, C]   w T [3, C, C]   ratio T [rows, C] of x, where rows = B*L or half of it
//      C a multiple of N
// out  g T [B, L, C], or none (layer 1)   dz T [B, L, C]
//      overflow: raised when a value of g is not finite or too large for T
// T    half, bfloat16
// source: kundajelab-shap, TFDeepExplainer: Relu, and the gradient of bpnet_{i}conv.   reference: engine/cpu
//
//   tile          as hopper_dgrad, whose main loop this is (hopper/passes.cuh); no column sums
//   ratio         straight to registers, 16 bytes a lane, transposed in the quad; asked for ahead (hopper/ahead.cuh):
//                 the first 64 columns during the main loop, the others 64 columns before
//   g             from registers, as hopper_dgrad; dz through staging
//
//   At 512 filters, 64 references, one head:
//   floor         as hopper_forward: 1.88 ms for eight layers at 790 TFLOP/s (H200)
//   memory        as rescale_dgrad, layer 2: 160 us of 265 at 4.3 TB/s (H200)
//   predicted     65-75 % of the floor at first: 2.5-2.9 ms (rescale_dgrad: 55-60 %); of a scheduler's clocks the
//                 epilogue takes 3500 a tile, hopper_dgrad's 2700
//   measured      unmeasured
//   registers     of a multiplier, which has 224: N = 256 222, 128 153; sm_90a, nvcc 13.0; no spills, no stack
//   tolerance     as rescale_dgrad in 16 bits; see tests/suite/kernels/hopper/rescale.rs

#include "core/epilogue.cuh"
#include "hopper/ahead.cuh"
#include "hopper/passes.cuh"

template <class T>
struct HopperRescaleDgradArgs {
  TensorMap source;    // dz_out [B, L_out, C], boxes of 128 positions, im2col from -2 d to 0
  TensorMap weights;   // [3 C, C], boxes of N / 2 rows
  TensorMap residual;  // g_out, as dz_out
  TensorMap result;    // dz [B * L_in, C], boxes of 64 rows
  Global<const T> ratio;      // [ratio_rows, C], of x; the rows of a second head have the same ratios
  Global<T> g;                // [B, L_in, C], or null
  Global<uint32_t> overflow;  // raised to 1
  RowMap map;                 // rows of x, seen from the output
  uint32_t dilation;
  uint32_t channels;
  uint32_t ratio_rows;
  uint32_t padding[2];
};

template <class Tile>
struct HopperRescaleDgrad : Unaided<DgradOperands<HopperRescaleDgradArgs<typename Tile::T>>> {
  using T = typename Tile::T;

  // g = v + residual, dz = g times the ratio of the ReLU below.
  struct Rows {
    struct Packed {
      uint32_t w[4];
    };
    const HopperRescaleDgradArgs<T>& p;
    uint32_t m0, n0;  // this thread's first row and column
    Ahead<Packed, Tile::N / 32, 2> ratios;
    Overflow overflow;

    CBP_DEVICE explicit Rows(const HopperRescaleDgrad& pass) : p(pass.p) {}
    CBP_DEVICE void begin(uint32_t m, uint32_t first_column) {
      m0 = m;
      n0 = first_column;
      ratios.begin([&](int half, int group) { return load(half, group); });
    }
    CBP_DEVICE void columns(uint32_t) {}
    CBP_DEVICE Packed load(int half, int group) const {
      const uint32_t m = m0 + 8 * half, row = m < p.ratio_rows ? m : m - p.ratio_rows;
      const uint64_t first = uint64_t(row) * p.channels + n0 + 32 * group;
      Packed packed;
      load_packed_row<T>(packed.w, p.ratio, first, m < p.map.rows);
      return packed;
    }
    CBP_DEVICE void row(uint32_t m, int half, int group, float (&v)[8], const float (&residual)[8]) {
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] += residual[j];
      overflow.template check<T>(v);  // rows that do not exist are zeros
      if (p.g) store_row<T>(p.g, uint64_t(m) * p.channels + n0 + 32 * group, v, m < p.map.rows);
      float ratio[8];
      unpack_row<T>(ratio, ratios.at(half, group).w);
      ratios.next(half, group, [&](int half, int group) { return load(half, group); });
#pragma unroll
      for (int j = 0; j < 8; j++) v[j] *= ratio[j];
    }
    CBP_DEVICE void end(uint32_t, uint32_t) {}
    CBP_DEVICE void finish() { overflow.raise(p.overflow); }
  };
};

#define HOPPER_RESCALE_DGRAD(type, T, n, stages)                                                               \
  CBP_CLUSTER_KERNEL(hopper_rescale_dgrad_##type##_n##n, HopperRescaleDgradArgs<T>, HOPPER_THREADS, CLUSTER) { \
    using Tile = HopperTile<T, n, stages, true>;                                                               \
    hopper_conv<Tile>(HopperRescaleDgrad<Tile>{{{p}}});                                                        \
  }
HOPPER_RESCALE_DGRAD(f16, half_t, 256, 3)
HOPPER_RESCALE_DGRAD(f16, half_t, 128, 6)
HOPPER_RESCALE_DGRAD(bf16, bf16_t, 256, 3)
HOPPER_RESCALE_DGRAD(bf16, bf16_t, 128, 6)
