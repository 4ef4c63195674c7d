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
