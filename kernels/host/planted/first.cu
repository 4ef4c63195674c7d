// double_it: y[i] = 2 x[i]. The emulator's own first test: a launch, its arguments, its memory.
#include "../../prims/prims.cuh"

struct DoubleIt {
  Global<const float> x;
  Global<float> y;
  uint32_t n, unused;
};

CBP_KERNEL(double_it, DoubleIt, 256, 1) {
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < p.n) p.y[i] = 2.0f * p.x[i];
}
