#include "core/epilogue.cuh"
#include "core/plain_core.cuh"
#include "core/tensor_core.cuh"

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
  const uint32_t tiles_n = p.channels / Core::N;
  const uint32_t tile_m = blockIdx.x / tiles_n, tile_n = blockIdx.x % tiles_n;
  const uint32_t m0 = tile_m * Core::M, n0 = tile_n * Core::N;
  const int32_t dilation = p.dilation;

  // x[n, l] reached the outputs l - t d. Taps that fall outside for the whole tile are left out:
  // a third of them at d = 256.
  const uint32_t taps = p.map.taps(m0, Core::M, -dilation);
  TapOperands<Core> operands{
      {p.dz_out, p.channels, p.map, -dilation, m0},
      {p.weights, p.channels, n0},
      {taps, p.channels},
  };
  typename Core::Sums sums = {};
  Core::accumulate(sums, operands, popcount(taps) * p.channels / Core::K);

  block_sync();  // the stages have been read: the epilogue reuses their memory
  ResidualMask<T, Core::N, Core::WARPS_M> epilogue{p.g_out,    p.mask,   p.g, p.dz, p.map,
                                                   p.channels, dilation, {},  {}};
  Core::each_row(sums, epilogue, m0, n0);
  epilogue.store_sums(p.column_sums, uint64_t(tile_m) * p.channels + n0);
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
