// Probes: what every lane gets from one primitive, for tests that know it from the PTX manual.
#include "planted.cuh"

// ldmatrix of 64 rows of 8 16-bit values, twice `pitch` bytes apart; row r of matrix m is row 8m + r of `in`.
struct LoadMatrixProbe {
  Global<const uint4> in;  // [32] rows of 16 bytes
  Global<uint32_t> out;    // [32][4] registers
  uint32_t transposed, pitch, bug, unused;
};
CBP_KERNEL(probe_ldmatrix, LoadMatrixProbe, 32, 1) {
  const auto tile = shared_at<uint8_t>(0);
  store_vec(tile, lane() * p.pitch, load_vec<uint4>(p.in, lane()));
  warp_sync();
  uint32_t r[4];
  // The bug: matrices 1 and 2 swapped, the common slip between A's and B's order.
  const uint32_t matrix = lane() / 8, swapped = matrix == 1 ? 2 : matrix == 2 ? 1 : matrix;
  const uint32_t row = (p.bug ? swapped : matrix) * 8 + lane() % 8;
  const uint32_t address = (tile + row * p.pitch).address();
  if (p.transposed) {
    ldmatrix_x4_trans(r, address);
  } else {
    ldmatrix_x4(r, address);
  }
  for (uint32_t i = 0; i < 4; i++) p.out[lane() * 4 + i] = r[i];
}

// One mma on fragments given lane by lane. type: 0 half, 1 bf16, 2 tf32, 3 bytes.
struct MmaProbe {
  Global<const uint32_t> a, b;  // [32][4], [32][2]
  Global<float> d;              // [32][4], added to
  uint32_t type, unused;
};
CBP_KERNEL(probe_mma, MmaProbe, 32, 1) {
  uint32_t a[4];
  float d[4];
  for (uint32_t i = 0; i < 4; i++) {
    a[i] = p.a[lane() * 4 + i];
    d[i] = p.d[lane() * 4 + i];
  }
  const uint32_t b0 = p.b[lane() * 2], b1 = p.b[lane() * 2 + 1];
  if (p.type == 0) mma_16816<half_t>(d, a, b0, b1);
  if (p.type == 1) mma_16816<bf16_t>(d, a, b0, b1);
  if (p.type == 2) mma_1688_tf32(d, a, b0, b1);
  if (p.type == 3) {
    int32_t sums[4];
    for (uint32_t i = 0; i < 4; i++) sums[i] = static_cast<int32_t>(d[i]);
    mma_16832_u8s8(sums, a, b0, b1);
    for (uint32_t i = 0; i < 4; i++) d[i] = static_cast<float>(sums[i]);
  }
  for (uint32_t i = 0; i < 4; i++) p.d[lane() * 4 + i] = d[i];
}

// out[lane] = {shfl from lane 5, shfl_xor 3, shfl_down 7, ballot of odd values}, over two warps.
struct ShuffleProbe {
  Global<const uint32_t> in;  // [64]
  Global<uint32_t> out;       // [64][4]
};
CBP_KERNEL(probe_shuffles, ShuffleProbe, 64, 1) {
  const uint32_t t = threadIdx.x, v = p.in[t];
  p.out[t * 4] = shfl(v, 5);
  p.out[t * 4 + 1] = shfl_xor(v, 3);
  p.out[t * 4 + 2] = shfl_down(v, 7);
  p.out[t * 4 + 3] = ballot(v & 1);
}

// Conversions, element by element.
struct NumberProbe {
  Global<const float> in;
  Global<uint32_t> half, bf16, tf32;  // bits; 16-bit types packed with their negation in the high half
  Global<float> back;                 // [n][2] the 16-bit values as floats again
  Global<uint32_t> quotient;          // bits of `in` / 2 by `by`
  FastDiv by;
  uint32_t n;
};
CBP_KERNEL(probe_numbers, NumberProbe, THREADS, 1) {
  const uint32_t i = own();
  if (i >= p.n) return;
  const float f = p.in[i];
  p.half[i] = pack2<half_t>(f, -f);
  p.bf16[i] = pack2<bf16_t>(f, -f);
  p.tf32[i] = to_tf32(f);
  p.back[2 * i] = unpack2<half_t>(pack2<half_t>(f, -f)).x;
  p.back[2 * i + 1] = unpack2<bf16_t>(pack2<bf16_t>(f, -f)).x;
  p.quotient[i] = p.by.div(float_bits(f) / 2);
}
