// rescale_forward: dilated_forward that keeps what DeepSHAP's backward pass needs of its ReLU,
//   z[n,l,o] = bias[o] + sum_t sum_i x[n,l+t*d,i] * w[t,i,o],   y[n,l,o] = max(z, 0) + x[n,l+d,o]
//   of the sequences: z itself;  of references: ratio = (max(z_x,0) - max(z,0)) / (z_x - z), z_x of the sequence
//   (kernels/rescale.cuh)
// in   x T [B, L, C]   w T [3, C, C]   bias f32 [C]   z_x f32 [B / references, L-2d, C]     C a multiple of 32
// out  y T [B, L-2d, C]   z f32 or ratio T [B, L-2d, C]
// T    half, bfloat16, float multiplied as tf32, as f32x3 (bf16 parts, core/math.cuh) or as f32
// source: kundajelab-shap, TFDeepExplainer: Relu.   reference: engine/cpu
//
// z is never stored in 16 bits: differences of it would lose what the ratio is made of. The sequences' z, one for
// some 20 references, is f32 (35 MB a sequence at 512 filters); the references' z never leaves the registers.
// The ratio lies in [0, 1] and has only its own rounding, 2^-11 of it in half, 2^-8 in bfloat16. Equal inputs
// give equal bits of z here, whatever tile they fall into, so where a reference does not differ
// from its sequence the difference is exactly 0.
//
//   tiles         those of dilated_forward, whose main loop this is (core/passes.cuh)
//
//   At 512 filters, 64 references, T of 16 bits:
//   floor         as dilated_forward: 1.88 ms for eight layers at 790 TFLOP/s (H200), 4.76 ms at 312 (A100)
//   memory        layer 1: x, y, ratio 411 MB, z_x 14 MB (20 references): 99 us of 266 at 4.3 TB/s (H200)
//   measured      unmeasured
//   registers     N =  128     64     32
//          f16         224    151    105
//          bf16        224    151    105
//          tf32        218    148    100
//          f32x3         -    204    128
//          f32           -      -    229
//                 the most of sm_80, 86, 89, 90, 100, 120, nvcc 13.0; no spills, no stack
//   tolerance     relative L2 of y: f16 4e-4, bf16 3e-3, else as dilated_forward (one rounding); ratio
//                 absolute: that of z over |z_x - z|, and its rounding; see
//                 tests/suite/kernels/rescale/dilated.rs

#include "core/passes.cuh"
#include "core/rescale_epilogue.cuh"

template <class T>
struct RescaleForwardArgs {
  Global<const T> x;         // [B, L_in, C]
  Global<const T> weights;   // [3, C, C]
  Global<const float> bias;  // [C]
  Global<T> y;               // [B, L_out, C]
  Rescale<T> rescale;        // [.., L_out, C]
  RowMap map;                // rows of y, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding;
};

template <class Core>
CBP_DEVICE void rescale_forward(const RescaleForwardArgs<typename Core::Element>& p) {
  using T = typename Core::Element;
  const TilePlace tile = tile_place<Core>(p.channels);
  typename Core::Sums sums = {};
  forward_sums<Core>(sums, p, tile);

  BiasReluRescale<T> epilogue{p.x,        p.bias,     p.y, p.rescale, p.map,
                              p.channels, int32_t(p.dilation), {}};
  Core::each_row(sums, epilogue, tile.m0, tile.n0);
}

template <class Math, int N>
using ForwardCore = TensorCore<Math, N, Major::K, Major::MN>;

#define RESCALE_FORWARD(type, Math, n, blocks)                                                \
  CBP_KERNEL(rescale_forward_##type##_n##n, RescaleForwardArgs<Math::Element>, 128, blocks) { \
    rescale_forward<ForwardCore<Math, n>>(p);                                                 \
  }
RESCALE_FORWARD(f16, MathHalf<half_t>, 128, 2)
RESCALE_FORWARD(f16, MathHalf<half_t>, 64, 3)
RESCALE_FORWARD(f16, MathHalf<half_t>, 32, 4)
RESCALE_FORWARD(bf16, MathHalf<bf16_t>, 128, 2)
RESCALE_FORWARD(bf16, MathHalf<bf16_t>, 64, 3)
RESCALE_FORWARD(bf16, MathHalf<bf16_t>, 32, 4)
RESCALE_FORWARD(tf32, MathTf32, 128, 2)
RESCALE_FORWARD(tf32, MathTf32, 64, 3)
RESCALE_FORWARD(tf32, MathTf32, 32, 4)
RESCALE_FORWARD(f32x3, MathSplit, 64, 2)
RESCALE_FORWARD(f32x3, MathSplit, 32, 4)

CBP_KERNEL(rescale_forward_f32, RescaleForwardArgs<float>, 64, 4) {
  rescale_forward<PlainCore<Major::K, Major::MN>>(p);
}
