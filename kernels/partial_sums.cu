// partial_sums: adds the parts of a weight gradient up, in place of the first
//   p[0][i] = p[0][i] + p[1][i] + ... in this order, as adam.cu would
// in/out  partials f32 [splits][len]     len a multiple of 4
// why     it needs only its own wgrad, so it runs beside the next dgrad, which leaves memory idle; the update,
//         which waits for every gradient, then reads one part instead of all
//
//   block        256 threads, 4 elements each in one access
//   floor        512 filters: 11 parts of 3.1 MB read, one written: 38 MB a layer, 9 us at 4.3 TB/s (H200), behind
//                a dgrad of 265 us
//   predicted    the update's 450 MB (105 us) become 200 MB (47 us): 1 % of a step
//   measured     unmeasured
//   registers    at most 38
//   tolerance    exact: the same f32 sums in the same order

#include "prims/prims.cuh"

constexpr uint32_t THREADS = 256;  // mirrored in ops/partial_sums.rs

struct PartialSumsArgs {
  Global<float> partials;
  uint32_t splits;
  uint32_t len;
};

CBP_KERNEL(partial_sums, PartialSumsArgs, THREADS, 4) {
  const uint32_t i = 4 * (blockIdx.x * THREADS + threadIdx.x);
  if (i >= p.len) return;
  float4 sum = load_vec<float4>(p.partials, i);
#pragma unroll 4
  for (uint32_t s = 1; s < p.splits; s++) {
    const float4 part = load_vec<float4>(p.partials, (size_t)s * p.len + i);
    sum.x += part.x, sum.y += part.y, sum.z += part.z, sum.w += part.w;
  }
  store_vec(p.partials, i, sum);
}
