// dilated_forward: y[n,l,o] = max(s, 0) + x[n,l+d,o] and its mask s > 0, where
//   s[n,l,o] = bias[o] + sum_t sum_i x[n,l+t*d,i] * w[t,i,o],  t = 0..2, 'valid'
// in   x T [B, L, C]   w T [3, C, C]   bias f32 [C]      C a multiple of 32
// out  y T [B, L-2d, C]   mask u32 [B*(L-2d), C/32], bit o % 32 of word o / 32, or none      sums f32
// T    half, bfloat16, float multiplied as tf32, as f32x3 (bf16 parts, core/math.cuh) or as f32
// source: official model layer bpnet_{i}conv with its crop and add.   reference: engine/cpu/dilated.rs
//
//   tile          value                    reason
//   block         128 rows x N, 4 warps    N = 128, 64 or 32, dividing C (f32x3: to 64; f32: 32, 2 warps)
//   warp          64 x N/2; N = 32: 32 x 32    128 accumulators a thread at most
//   k step        64 bytes of one tap      32 or 16 channels; taps differ only in their rows
//   stages        3 of 16 KB, or 4 of 12 or 10    48 KB: two blocks an SM from sm_80 on
//   grid          row tiles x C/N          rows are flat [B*(L-2d)], across examples; one ragged tile
//
//   At 512 filters, batch 64, T of 16 bits:
//   roofline      layer 1: 210 GFLOP, 284 MB -> 740 FLOP/B: compute bound (layer 8: 600)
//   floor         layers 1-8: 266 265 263 259 251 235 202 137 us, together 1.88 ms, at 790 TFLOP/s (H200);
//                 4.76 ms at 312 TFLOP/s (A100). mma.sync reaches about 60 % of the former's rate
//   memory        layer 1: 66 us at 4.3 TB/s (H200)
//   measured      unmeasured
//   registers     N =  128     64     32
//          f16         226    152    102
//          bf16        226    152    102
//          tf32        218    146    100
//          f32x3         -    204    127
//          f32           -      -    204
//                 the most of sm_80, 86, 89, 90, 100, 120, nvcc 13.0; no spills, no stack
//   tolerance     relative L2: f16 3e-4, bf16 2.4e-3 (one rounding of y), tf32 4e-4 (operands), f32x3
//                 1e-5 (core/math.cuh), f32 1e-6; see tests/suite/kernels/dilated/

#include "core/epilogue.cuh"
#include "core/passes.cuh"

template <class T>
struct DilatedForwardArgs {
  Global<const T> x;         // [B, L_in, C]
  Global<const T> weights;   // [3, C, C]
  Global<const float> bias;  // [C]
  Global<T> y;               // [B, L_out, C]
  Global<uint32_t> mask;     // [B * L_out, C / 32], or null
  RowMap map;                // rows of y, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding;
};

template <class Core>
CBP_DEVICE void dilated_forward(const DilatedForwardArgs<typename Core::Element>& p) {
  using T = typename Core::Element;
  const TilePlace tile = tile_place<Core>(p.channels);
  typename Core::Sums sums = {};
  forward_sums<Core>(sums, p, tile);

  BiasReluResidual<T> epilogue{p.x, p.bias, p.y, p.mask, p.map, p.channels, int32_t(p.dilation),
                               {}};
  Core::each_row(sums, epilogue, tile.m0, tile.n0);
}

template <class Math, int N>
using ForwardCore = TensorCore<Math, N, Major::K, Major::MN>;

#define FORWARD(type, Math, n, blocks)                                                        \
  CBP_KERNEL(dilated_forward_##type##_n##n, DilatedForwardArgs<Math::Element>, 128, blocks) { \
    dilated_forward<ForwardCore<Math, n>>(p);                                                 \
  }
FORWARD(f16, MathHalf<half_t>, 128, 2)
FORWARD(f16, MathHalf<half_t>, 64, 3)
FORWARD(f16, MathHalf<half_t>, 32, 4)
FORWARD(bf16, MathHalf<bf16_t>, 128, 2)
FORWARD(bf16, MathHalf<bf16_t>, 64, 3)
FORWARD(bf16, MathHalf<bf16_t>, 32, 4)
FORWARD(tf32, MathTf32, 128, 2)
FORWARD(tf32, MathTf32, 64, 3)
FORWARD(tf32, MathTf32, 32, 4)
FORWARD(f32x3, MathSplit, 64, 2)
FORWARD(f32x3, MathSplit, 32, 4)

CBP_KERNEL(dilated_forward_f32, DilatedForwardArgs<float>, 64, 4) {
  dilated_forward<PlainCore<Major::K, Major::MN>>(p);
}
