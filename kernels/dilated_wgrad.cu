// dilated_wgrad: dw[t,i,o] = sum_n sum_l x[n,l+t*d,i] * dz_out[n,l,o],  as partial sums over parts of the
//   flat rows (n,l), which adam adds in order
// in   x T [B, L, C]   dz_out T [B, L-2d, C]
// out  partials f32 [splits, 3*C, C], row t*C + i
//      overflow: raised when a sum is not finite
// T    half, bfloat16, float multiplied as tf32, as f32x3 (bf16 parts, core/math.cuh) or as f32
// source: gradient of the official layer bpnet_{i}conv.   reference: engine/cpu/dilated.rs
//
//   tile          value                    reason
//   block         128 rows x N, 4 warps    N = 128, 64 or 32, dividing C (f32x3: to 64; f32: 32, 2 warps)
//   warp          64 x N/2; N = 32: 32 x 32    128 accumulators a thread at most
//   k step        32 or 16 flat rows       both operands lie across k: ldmatrix transposes, or, for
//                                          32-bit elements, single loads without bank conflicts
//   stages        3 of 16 KB, or 4 of 12 or 10    48 KB: two blocks an SM from sm_80 on
//   grid          3C/128 x C/N, splits     the tiles of a split run together and share its rows in L2
//   splits        11 at C = 512            528 blocks: two rounds of 264; a function of the shape alone
//
//   At 512 filters, batch 64, T of 16 bits:
//   roofline      layer 1: 210 GFLOP, 309 MB (35 of partials) -> 681 FLOP/B: compute bound (layer 8: 510)
//   floor         as forward: 1.88 ms for eight layers at 790 TFLOP/s (H200), 4.76 ms at 312 (A100)
//   memory        layer 1: 72 us at 4.3 TB/s (H200)
//   measured      unmeasured
//   registers     N =  128     64     32
//          f16         215    148     95
//          bf16        215    148     95
//          tf32        216    140    101
//          f32x3         -    195    122
//          f32           -      -    178
//                 the most of sm_80, 86, 89, 90, 100, 120, nvcc 13.0; no spills, no stack
//   tolerance     relative L2: f16, bf16 1e-6 (their products are exact in f32), tf32 4e-4, f32x3 1e-5,
//                 f32 1e-6; on a GPU the cut sums of f16 and bf16 may cost 5e-5; see
//                 tests/suite/kernels/dilated/

#include "core/epilogue.cuh"
#include "core/plain_core.cuh"
#include "core/tensor_core.cuh"

template <class T>
struct DilatedWgradArgs {
  Global<const T> x;          // [B, L_in, C]
  Global<const T> dz_out;     // [B, L_out, C]
  Global<float> partials;     // [splits][3 C][C]
  Global<uint32_t> overflow;  // raised to 1
  RowMap map;                 // rows of dz_out, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t padding;
};

template <class Core>
CBP_DEVICE void dilated_wgrad(const DilatedWgradArgs<typename Core::Element>& p) {
  // Blocks of one split on end, so that they share its rows of x and dz in L2.
  const uint32_t tiles_n = p.channels / Core::N;
  const uint32_t m0 = blockIdx.x / tiles_n * Core::M, n0 = blockIdx.x % tiles_n * Core::N;
  // The split's steps of k: a schedule of the shape alone, so every device sums alike.
  const uint64_t steps = (p.map.rows + Core::K - 1) / Core::K;
  const uint32_t split = blockIdx.y;
  const uint32_t first = split * steps / gridDim.y, last = (split + 1) * steps / gridDim.y;

  RowOperands<Core> operands{
      {p.x, p.channels, p.map, int32_t(p.dilation), m0},
      {p.dz_out, p.channels, p.map.rows, n0},
      first * Core::K,
  };
  typename Core::Sums sums = {};
  Core::accumulate(sums, operands, last - first);

  const uint32_t rows = TAPS * p.channels;
  StorePartial epilogue{p.partials + uint64_t(split) * rows * p.channels, rows, p.channels, {}};
  Core::each_row(sums, epilogue, m0, n0);
  epilogue.overflow.raise(p.overflow);
}

template <class Math, int N>
using WgradCore = TensorCore<Math, N, Major::MN, Major::MN>;

#define WGRAD(type, Math, n, blocks)                                                      \
  CBP_KERNEL(dilated_wgrad_##type##_n##n, DilatedWgradArgs<Math::Element>, 128, blocks) { \
    dilated_wgrad<WgradCore<Math, n>>(p);                                                 \
  }
WGRAD(f16, MathHalf<half_t>, 128, 2)
WGRAD(f16, MathHalf<half_t>, 64, 3)
WGRAD(f16, MathHalf<half_t>, 32, 4)
WGRAD(bf16, MathHalf<bf16_t>, 128, 2)
WGRAD(bf16, MathHalf<bf16_t>, 64, 3)
WGRAD(bf16, MathHalf<bf16_t>, 32, 4)
WGRAD(tf32, MathTf32, 128, 2)
WGRAD(tf32, MathTf32, 64, 3)
WGRAD(tf32, MathTf32, 32, 4)
WGRAD(f32x3, MathSplit, 64, 2)
WGRAD(f32x3, MathSplit, 32, 4)

CBP_KERNEL(dilated_wgrad_f32, DilatedWgradArgs<float>, 64, 4) {
  dilated_wgrad<PlainCore<Major::MN, Major::MN>>(p);
}
