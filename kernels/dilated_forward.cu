#include "core/epilogue.cuh"
#include "core/plain_core.cuh"
#include "core/tensor_core.cuh"

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
  // Column tiles of a row tile on end: their blocks run together and share x in L2.
  const uint32_t tiles_n = p.channels / Core::N;
  const uint32_t m0 = blockIdx.x / tiles_n * Core::M, n0 = blockIdx.x % tiles_n * Core::N;

  TapOperands<Core> operands{
      {p.x, p.channels, p.map, int32_t(p.dilation), m0},
      {p.weights, p.channels, n0},
      {7u, p.channels},  // all taps
  };
  typename Core::Sums sums = {};
  Core::accumulate(sums, operands, TAPS * p.channels / Core::K);

  BiasReluResidual<T> epilogue{p.x, p.bias, p.y, p.mask, p.map, p.channels, int32_t(p.dilation),
                               {}};
  Core::each_row(sums, epilogue, m0, n0);
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
