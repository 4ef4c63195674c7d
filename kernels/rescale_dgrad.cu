// rescale_dgrad: dilated_dgrad of multipliers, with the rescale rule's ratio in place of the ReLU's mask,
//   g[n,l,i] = sum_t sum_o dz_out[n,l-t*d,o] * w[t,i,o] + g_out[n,l-d,i], zero outside;   dz = g * ratio
// in   dz_out, g_out T [B, L-2d, C]   w T [3, C, C]   ratio T [rows, C] of x, where rows = B*L or half of it
// out  g T [B, L, C], or none (layer 1)   dz T [B, L, C]
//      overflow: raised when a value of g is not finite or too large for T
// T    half, bfloat16, float multiplied as tf32, as f32x3 (bf16 parts, core/math.cuh) or as f32
// source: kundajelab-shap, TFDeepExplainer: Relu, and the gradient of bpnet_{i}conv.   reference: engine/cpu
//
// Both heads go through the layers together, as the two halves of one batch: their multipliers differ, ratios and
// weights do not.
//
//   tiles         those of dilated_dgrad, whose main loop this is (core/passes.cuh)
//
//   At 512 filters, 64 references, one head, T of 16 bits:
//   floor         as dilated_forward: 1.88 ms for eight layers at 790 TFLOP/s (H200), 4.76 ms at 312 (A100)
//   memory        layer 2: dz and g of both sides and the ratio, 686 MB: 160 us of 265 at 4.3 TB/s (H200)
//   measured      unmeasured
//   registers     N =  128     64     32
//          f16         228    154    108
//          bf16        228    154    108
//          tf32        214    144    102
//          f32x3         -    205    128
//          f32           -      -    233
//                 the most of sm_80, 86, 89, 90, 100, 120, nvcc 13.0; no spills, no stack
//   tolerance     relative L2: f16 4e-4, bf16 3e-3, else as dilated_dgrad; dz in 16 bits has the ratio's rounding, too; see
//                 tests/suite/kernels/rescale/dilated.rs

#include "core/passes.cuh"
#include "core/rescale_epilogue.cuh"

template <class T>
struct RescaleDgradArgs {
  Global<const T> dz_out;     // [B, L_out, C]: g_out times the ratio of this layer's ReLU
  Global<const T> g_out;      // [B, L_out, C]
  Global<const T> weights;    // [3, C, C]
  Global<const T> ratio;      // [ratio_rows, C], of x
  Global<T> g;                // [B, L_in, C], or null
  Global<T> dz;               // [B, L_in, C]
  Global<uint32_t> overflow;  // raised to 1
  RowMap map;                 // rows of x, seen from the output
  uint32_t dilation;
  uint32_t channels;
  uint32_t ratio_rows;
};

template <class Core>
CBP_DEVICE void rescale_dgrad(const RescaleDgradArgs<typename Core::Element>& p) {
  using T = typename Core::Element;
  const TilePlace tile = tile_place<Core>(p.channels);
  typename Core::Sums sums = {};
  dgrad_sums<Core>(sums, p, tile);

  ResidualRescale<T> epilogue{p.g_out,    p.ratio,             p.g,          p.dz, p.map,
                              p.channels, int32_t(p.dilation), p.ratio_rows, {}};
  Core::each_row(sums, epilogue, tile.m0, tile.n0);
  epilogue.overflow.raise(p.overflow);
}

template <class Math, int N>
using DgradCore = TensorCore<Math, N, Major::K, Major::K>;

#define RESCALE_DGRAD(type, Math, n, blocks)                                              \
  CBP_KERNEL(rescale_dgrad_##type##_n##n, RescaleDgradArgs<Math::Element>, 128, blocks) { \
    rescale_dgrad<DgradCore<Math, n>>(p);                                                 \
  }
RESCALE_DGRAD(f16, MathHalf<half_t>, 128, 2)
RESCALE_DGRAD(f16, MathHalf<half_t>, 64, 3)
RESCALE_DGRAD(f16, MathHalf<half_t>, 32, 4)
RESCALE_DGRAD(bf16, MathHalf<bf16_t>, 128, 2)
RESCALE_DGRAD(bf16, MathHalf<bf16_t>, 64, 3)
RESCALE_DGRAD(bf16, MathHalf<bf16_t>, 32, 4)
RESCALE_DGRAD(tf32, MathTf32, 128, 2)
RESCALE_DGRAD(tf32, MathTf32, 64, 3)
RESCALE_DGRAD(tf32, MathTf32, 32, 4)
RESCALE_DGRAD(f32x3, MathSplit, 64, 2)
RESCALE_DGRAD(f32x3, MathSplit, 32, 4)

CBP_KERNEL(rescale_dgrad_f32, RescaleDgradArgs<float>, 64, 4) {
  rescale_dgrad<PlainCore<Major::K, Major::K>>(p);
}
