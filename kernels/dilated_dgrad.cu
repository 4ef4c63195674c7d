// dilated_dgrad: g[n,l,i] = sum_t sum_o dz_out[n,l-t*d,o] * w[t,i,o] + g_out[n,l-d,i], zero outside,
//   dz = g where the layer below let through, and the sums of dz over the rows of each tile, which
//   add up to that layer's bias gradient (dz before rounding, warps in order)
// in   dz_out, g_out T [B, L-2d, C]   w T [3, C, C]   mask u32 [B*L, C/32] of x
// out  g T [B, L, C], or none (layer 1)   dz T [B, L, C]   column sums f32 [row tiles, C]
//      overflow: raised when a value of g is not finite or too large for T
// T    half, bfloat16, float multiplied as tf32, as f32x3 (bf16 parts, core/math.cuh) or as f32
// source: gradient of the official layer bpnet_{i}conv and its add.   reference: engine/cpu/dilated.rs
//
//   tile          value                    reason
//   block         128 rows x N, 4 warps    N = 128, 64 or 32, dividing C (f32x3: to 64; f32: 32, 2 warps)
//   warp          64 x N/2; N = 32: 32 x 32    128 accumulators a thread at most
//   k step        64 bytes of one tap      32 or 16 channels; w is read as it is, k-major
//   stages        3 of 16 KB, or 4 of 12 or 10    48 KB: two blocks an SM from sm_80 on
//   taps          those that touch the tile    without it 7 % more work than forward
//   grid          row tiles x C/N          rows are flat [B*L], across examples; one ragged tile
//
//   At 512 filters, batch 64, T of 16 bits:
//   roofline      layer 2: 210 GFLOP, 557 MB -> 376 FLOP/B: compute bound (layer 8: 303)
//   floor         as forward: 1.88 ms for eight layers at 790 TFLOP/s (H200), 4.76 ms at 312 (A100)
//   memory        layer 2: 130 us at 4.3 TB/s (H200)
//   measured      unmeasured
//   registers     N =  128     64     32
//          f16         224    152    102
//          bf16        222    152    102
//          tf32        250    142     97
//          f32x3         -    203    127
//          f32           -      -    233
//                 the most of sm_80, 86, 89, 90, 100, 120, nvcc 13.0; no spills, no stack
//   tolerance     relative L2: f16 3e-4, bf16 2.4e-3 (one rounding of g), tf32 4e-4 (operands), f32x3
//                 1e-5 (core/math.cuh), f32 1e-6; column sums 1e-6 for T of 16 bits; see
//                 tests/suite/kernels/dilated/

#include "core/epilogue.cuh"
#include "core/passes.cuh"

template <class T>
struct DilatedDgradArgs {
  Global<const T> dz_out;       // [B, L_out, C]: g_out where this layer's ReLU let through
  Global<const T> g_out;        // [B, L_out, C]
  Global<const T> weights;      // [3, C, C]
  Global<const uint32_t> mask;  // [B * L_in, C / 32], of x
  Global<T> g;                  // [B, L_in, C], or null
  Global<T> dz;                 // [B, L_in, C]
  Global<float> column_sums;    // [row tiles][C]
  Global<uint32_t> overflow;    // raised to 1
  RowMap map;                   // rows of x, seen from the output
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding;
};

template <class Core>
CBP_DEVICE void dilated_dgrad(const DilatedDgradArgs<typename Core::Element>& p) {
  using T = typename Core::Element;
  const TilePlace tile = tile_place<Core>(p.channels);
  typename Core::Sums sums = {};
  dgrad_sums<Core>(sums, p, tile);

  block_sync();  // the stages have been read: the epilogue reuses their memory
  ResidualMask<T, Core::N, Core::WARPS_M> epilogue{
      p.g_out, p.mask, p.g, p.dz, p.map, p.channels, int32_t(p.dilation), {}, {}};
  Core::each_row(sums, epilogue, tile.m0, tile.n0);
  epilogue.store_sums(p.column_sums, uint64_t(tile.tile_m) * p.channels + tile.n0);
  epilogue.overflow.raise(p.overflow);
}

template <class Math, int N>
using DgradCore = TensorCore<Math, N, Major::K, Major::K>;

#define DGRAD(type, Math, n, blocks)                                                      \
  CBP_KERNEL(dilated_dgrad_##type##_n##n, DilatedDgradArgs<Math::Element>, 128, blocks) { \
    dilated_dgrad<DgradCore<Math, n>>(p);                                                 \
  }
DGRAD(f16, MathHalf<half_t>, 128, 2)
DGRAD(f16, MathHalf<half_t>, 64, 3)
DGRAD(f16, MathHalf<half_t>, 32, 4)
DGRAD(bf16, MathHalf<bf16_t>, 128, 2)
DGRAD(bf16, MathHalf<bf16_t>, 64, 3)
DGRAD(bf16, MathHalf<bf16_t>, 32, 4)
DGRAD(tf32, MathTf32, 128, 2)
DGRAD(tf32, MathTf32, 64, 3)
DGRAD(tf32, MathTf32, 32, 4)
DGRAD(f32x3, MathSplit, 64, 2)
DGRAD(f32x3, MathSplit, 32, 4)

CBP_KERNEL(dilated_dgrad_f32, DilatedDgradArgs<float>, 64, 4) {
  dilated_dgrad<PlainCore<Major::K, Major::K>>(p);
}
