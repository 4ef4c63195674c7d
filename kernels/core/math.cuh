// Arithmetic of the portable core: fragments out of shared memory, and their product.
//
// `multiply(left, right, a, b)` adds the product of two blocks to two fragments of the result, 16 x 8
// each. A `Block` is 16 (m or n) x K elements of an operand, a lane's share as four registers, one for
// each quarter: low or high half of mn, low or high half of k. mma.sync wants its operands in
// registers on end, A with mn running fastest (one A fragment), B with k fastest (two B fragments).
#pragma once
#include "tile.cuh"

enum class Role { A, B };

// r <- elements (mn .. mn+16, k .. k+32 bytes) of a stage.
template <Role ROLE, class Stage>
CBP_DEVICE void load_block(uint32_t (&r)[4], uint32_t stage, uint32_t mn, uint32_t k) {
  using T = typename Stage::Element;
  const uint32_t l = lane();
  if constexpr (!Stage::BY_ELEMENT) {
    // Lane l addresses row l % 8 of quarter l / 8.
    const uint32_t fast = (l >> 3) & 1, slow = l >> 4;
    const uint32_t half_mn = ROLE == Role::A ? fast : slow;
    const uint32_t half_k = ROLE == Role::A ? slow : fast;
    if constexpr (Stage::MAJOR == Major::K) {
      const uint32_t row = mn + (l & 7) + 8 * half_mn, chunk = k / Stage::PER_CHUNK + half_k;
      ldmatrix_x4(r, shared_at<T>(stage + Stage::offset(row, chunk)).address());
    } else {
      // rows are k, so the quarters are transposed on the way
      const uint32_t row = k + (l & 7) + 8 * half_k, chunk = mn / Stage::PER_CHUNK + half_mn;
      ldmatrix_x4_trans(r, shared_at<T>(stage + Stage::offset(row, chunk)).address());
    }
  } else {
    // lane 4g + q takes element (mn + g, k + q) of each quarter of 8 x 4
    const uint32_t g = l >> 2, q = l & 3;
#pragma unroll
    for (int half_k = 0; half_k < 2; half_k++) {
#pragma unroll
      for (int half_mn = 0; half_mn < 2; half_mn++) {
        const uint32_t row = k + q + 4 * half_k, column = mn + g + 8 * half_mn;
        const uint32_t at = Stage::offset(row, column / 4) + column % 4 * 4;
        const int quarter = ROLE == Role::A ? half_mn + 2 * half_k : half_k + 2 * half_mn;
        r[quarter] = shared_at<uint32_t>(stage + at)[0];
      }
    }
  }
}

// 16-bit operands as they are, f32 sums.
template <class T>
struct MathHalf {
  using Element = T;
  using Sum = float;
  static constexpr int K = 16;
  struct Block {
    uint32_t r[4];
  };

  template <Role ROLE, class Stage>
  static CBP_DEVICE void load(Block& b, uint32_t stage, uint32_t mn, uint32_t k) {
    load_block<ROLE, Stage>(b.r, stage, mn, k);
  }
  static CBP_DEVICE void multiply(float (&left)[4], float (&right)[4], const Block& a,
                                  const Block& b) {
    mma_16816<T>(left, a.r, b.r[0], b.r[1]);
    mma_16816<T>(right, a.r, b.r[2], b.r[3]);
  }
};

// f32 operands rounded to the 10-bit mantissa of TF32 (to nearest), f32 sums.
struct MathTf32 {
  using Element = float;
  using Sum = float;
  static constexpr int K = 8;
  struct Block {
    uint32_t r[4];
  };

  template <Role ROLE, class Stage>
  static CBP_DEVICE void load(Block& b, uint32_t stage, uint32_t mn, uint32_t k) {
    load_block<ROLE, Stage>(b.r, stage, mn, k);
#pragma unroll
    for (int i = 0; i < 4; i++) b.r[i] = to_tf32(bits_float(b.r[i]));
  }
  static CBP_DEVICE void multiply(float (&left)[4], float (&right)[4], const Block& a,
                                  const Block& b) {
    mma_1688_tf32(left, a.r, b.r[0], b.r[1]);
    mma_1688_tf32(right, a.r, b.r[2], b.r[3]);
  }
};

// f32 operands as sums of two bf16, x = hi + lo + rest, three products: hi*hi + hi*lo + lo*hi.
//
// bf16 rounding leaves at most 2^-9 of a value, 1.7e-3 of it in the root mean square (rms), so
// rest is at most 2^-18 of x (rms 2.8e-6). What is left out of a product is a*rest(b), rest(a)*b
// and lo*lo, each of that size and of either sign: rms sqrt(3) * 2.8e-6 = 4.8e-6 of the product at
// most. Terms of a sum err independently, so the relative L2 error of a tensor is the same 4.8e-6
// whether its sums cancel or not; a fourth product (lo*lo) would only bring it to 4.0e-6, six
// products of three parts to 1e-7 at twice the cost. Three stay below the 1e-5 asked for: 4.5e-6 in
// the tests, and through eight layers and back (numpy, C = 64) weight gradients of 6e-6 to 9e-6.
//
// Tensor cores cut off what does not fit while they accumulate (Fasi et al. 2021), which over the
// thousands of steps of wgrad would bias a sum by 1e-4. So every 16 terms are summed on their own
// and added with rounding (Ootomo and Yokota 2022). Nothing of this shows in emulation.
struct MathSplit {
  using Element = float;
  using Sum = float;
  static constexpr int K = 16;
  struct Block {
    uint32_t hi[4], lo[4];
  };

  template <Role ROLE, class Stage>
  static CBP_DEVICE void load(Block& b, uint32_t stage, uint32_t mn, uint32_t k) {
    uint32_t near[4], far[4];  // k .. k+8 and k+8 .. k+16, four bytes an element
    load_block<ROLE, Stage>(near, stage, mn, k);
    load_block<ROLE, Stage>(far, stage, mn, k + 8);
    // mma takes two k in a register. Which two is free as long as A and B agree: here
    // k = q and q + 4 of each eight, the two that a lane already holds.
    if constexpr (ROLE == Role::A) {
      split(b.hi[0], b.lo[0], near[0], near[2]);
      split(b.hi[1], b.lo[1], near[1], near[3]);
      split(b.hi[2], b.lo[2], far[0], far[2]);
      split(b.hi[3], b.lo[3], far[1], far[3]);
    } else {
      split(b.hi[0], b.lo[0], near[0], near[1]);
      split(b.hi[1], b.lo[1], far[0], far[1]);
      split(b.hi[2], b.lo[2], near[2], near[3]);
      split(b.hi[3], b.lo[3], far[2], far[3]);
    }
  }
  static CBP_DEVICE void multiply(float (&left)[4], float (&right)[4], const Block& a,
                                  const Block& b) {
    // small terms first, where they lose least
    float l[4] = {}, r[4] = {};
    mma_16816<bf16_t>(l, a.lo, b.hi[0], b.hi[1]);
    mma_16816<bf16_t>(r, a.lo, b.hi[2], b.hi[3]);
    mma_16816<bf16_t>(l, a.hi, b.lo[0], b.lo[1]);
    mma_16816<bf16_t>(r, a.hi, b.lo[2], b.lo[3]);
    mma_16816<bf16_t>(l, a.hi, b.hi[0], b.hi[1]);
    mma_16816<bf16_t>(r, a.hi, b.hi[2], b.hi[3]);
#pragma unroll
    for (int e = 0; e < 4; e++) {
      left[e] += l[e];
      right[e] += r[e];
    }
  }

 private:
  static CBP_DEVICE void split(uint32_t& hi, uint32_t& lo, uint32_t x, uint32_t y) {
    const float fx = bits_float(x), fy = bits_float(y);
    hi = pack2<bf16_t>(fx, fy);
    const float2 h = unpack2<bf16_t>(hi);
    lo = pack2<bf16_t>(fx - h.x, fy - h.y);
  }
};

// Bytes: A unsigned, B signed, both K-major; exact s32 sums. ldmatrix moves pairs of them, whose order along k is kept.
struct MathInt8 {
  using Element = uint8_t;
  using Sum = int32_t;
  static constexpr int K = 32;
  struct Block {
    uint32_t r[4];
  };

  template <Role ROLE, class Stage>
  static CBP_DEVICE void load(Block& b, uint32_t stage, uint32_t mn, uint32_t k) {
    static_assert(Stage::MAJOR == Major::K, "ldmatrix transposes 16-bit elements only");
    load_block<ROLE, Stage>(b.r, stage, mn, k);
  }
  static CBP_DEVICE void multiply(int32_t (&left)[4], int32_t (&right)[4], const Block& a,
                                  const Block& b) {
    mma_16832_u8s8(left, a.r, b.r[0], b.r[1]);
    mma_16832_u8s8(right, a.r, b.r[2], b.r[3]);
  }
};
