// matrix_ceiling: mma.sync from registers alone, for the rate that nothing on the portable core can exceed.
//
//   d[j] += a b for 8 independent sums, `rounds` times; 2 * 16 * 8 * 16 (tf32: * 8) operations each
// in   nothing: operands are made from lane numbers
// out  f32 [blocks * 256], a sum a thread, so that nothing is left out; grid (blocks)
//   block        256 threads, two on a multiprocessor: 16 warps keep every tensor core busy
//   floor        it is the floor;  measured: unmeasured
//   values       not zeros, which take less power and so run faster than data does
//   registers    at most 48
//   tolerance    none: the rate is what is wanted, and nobody reads the sums

#include "prims/prims.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t SUMS = 8;

// Mirrored in ops/ceiling.rs.
struct CeilingArgs {
  Global<float> out;  // [blocks * THREADS], so that nothing is left out
  uint32_t rounds;
  uint32_t padding;
};

struct Half {
  static CBP_DEVICE uint32_t operand(uint32_t i) { return pack2<half_t>(1.0f + i * 0.01f, -1.0f); }
  static CBP_DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b) { mma_16816<half_t>(d, a, b, b); }
};
struct Bf16 {
  static CBP_DEVICE uint32_t operand(uint32_t i) { return pack2<bf16_t>(1.0f + i * 0.01f, -1.0f); }
  static CBP_DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b) { mma_16816<bf16_t>(d, a, b, b); }
};
struct Tf32 {
  static CBP_DEVICE uint32_t operand(uint32_t i) { return to_tf32(i % 2 ? 1.0f + i * 0.01f : -1.0f); }
  static CBP_DEVICE void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b) { mma_1688_tf32(d, a, b, b); }
};

template <class Math>
CBP_DEVICE void matrix_ceiling(const CeilingArgs& p) {
  float d[SUMS][4] = {};
  uint32_t a[4];
#pragma unroll
  for (uint32_t i = 0; i < 4; i++) a[i] = Math::operand(lane() + i);
  const uint32_t b = Math::operand(lane() * 3);
  for (uint32_t round = 0; round < p.rounds; round++) {
#pragma unroll
    for (uint32_t j = 0; j < SUMS; j++) Math::multiply(d[j], a, b);
  }
  float sum = 0.0f;
#pragma unroll
  for (uint32_t j = 0; j < SUMS; j++) sum += d[j][0] + d[j][1] + d[j][2] + d[j][3];
  p.out[(size_t)blockIdx.x * THREADS + threadIdx.x] = sum;
}

CBP_KERNEL(matrix_ceiling_f16, CeilingArgs, THREADS, 2) { matrix_ceiling<Half>(p); }
CBP_KERNEL(matrix_ceiling_bf16, CeilingArgs, THREADS, 2) { matrix_ceiling<Bf16>(p); }
CBP_KERNEL(matrix_ceiling_tf32, CeilingArgs, THREADS, 2) { matrix_ceiling<Tf32>(p); }
