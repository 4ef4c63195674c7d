// The shape of a block's work on the portable core, and where its operands lie in shared memory.
//
// Every pass is a product D[m, n] = sum over k of A[m, k] * B[k, n]. A block of four warps owns an
// M x N tile of D and walks k in steps of 64 bytes; a step's part of A and of B is a *stage* of a
// ring in shared memory.
#pragma once
#include "../prims/prims.cuh"

// The index of an operand along which memory is contiguous: k, or its other one (m of A, n of B).
enum class Major { K, MN };

constexpr int WARP = 32;
constexpr int CHUNK = 16;  // bytes: what one cp.async copies, and one row of an ldmatrix matrix

// A stage of one operand: MN x K elements, stored in rows along its contiguous index. Chunks are
// permuted inside a row so that the eight chunks one ldmatrix matrix takes (same column, eight rows
// on end) fall into eight different groups of four banks.
template <class T, Major MAJOR_, int MN, int K>
struct StageTile {
  using Element = T;
  static constexpr Major MAJOR = MAJOR_;
  static constexpr int PER_CHUNK = CHUNK / int(sizeof(T));
  static constexpr int ROWS = MAJOR == Major::K ? MN : K;
  static constexpr int CHUNKS = (MAJOR == Major::K ? K : MN) / PER_CHUNK;
  static constexpr int PITCH = CHUNKS * CHUNK;
  static constexpr int BYTES = ROWS * PITCH;
  // 32-bit elements have no transposing ldmatrix: they are read one by one, lanes 4g + t taking
  // row t, column g of a 4 x 8 block (two chunks wide), so the four rows must differ in bank.
  static constexpr bool BY_ELEMENT = sizeof(T) == 4 && MAJOR == Major::MN;
  static_assert(CHUNKS >= (BY_ELEMENT ? 8 : 4) && (CHUNKS & (CHUNKS - 1)) == 0,
                "the permutation stays inside a row");

  // Byte of chunk `chunk` of row `row`.
  static constexpr int KEY_PERIOD = BY_ELEMENT ? 4 : 8;  // in rows
  static CBP_DEVICE uint32_t offset(uint32_t row, uint32_t chunk) {
    const uint32_t key = BY_ELEMENT ? (row & 3) << 1 : CHUNKS == 4 ? (row >> 1) & 3 : row & 7;
    return row * PITCH + ((chunk ^ key) * CHUNK);
  }
};

// A block's geometry on the tensor cores for arithmetic `Math_` (math.cuh) and N columns.
template <class Math_, int N_, Major MAJOR_A, Major MAJOR_B>
struct Tile {
  using Math = Math_;
  using Element = typename Math::Element;
  static constexpr int M = 128;
  static constexpr int N = N_;
  static constexpr int K = 64 / int(sizeof(Element));
  static constexpr int WARPS = 4;
  static constexpr int THREADS = WARPS * WARP;
  static constexpr int WARPS_M = N == 32 ? 4 : 2;
  static constexpr int WARPS_N = WARPS / WARPS_M;
  static constexpr int WARP_M = M / WARPS_M;
  static constexpr int WARP_N = N / WARPS_N;
  // 16-row and 8-column fragments of a warp.
  static constexpr int FRAGMENTS_M = WARP_M / 16;
  static constexpr int FRAGMENTS_N = WARP_N / 8;

  using A = StageTile<Element, MAJOR_A, M, K>;
  using B = StageTile<Element, MAJOR_B, N, K>;
  static constexpr int STAGES = N == 128 ? 3 : 4;
  static constexpr int STAGE_BYTES = A::BYTES + B::BYTES;
  static constexpr int SHARED_BYTES = STAGES * STAGE_BYTES;

  // A warp's share of D as mma.sync lays it out. Lane 4g + q holds, of fragment (i, j), rows
  // 16i + g (elements 0, 1) and 16i + g + 8 (elements 2, 3), columns 8j + 2q and 8j + 2q + 1.
  struct Sums {
    float d[FRAGMENTS_M][FRAGMENTS_N][4];
  };

  static_assert(N == 128 || N == 64 || N == 32, "N divides the channels, a multiple of 32");
  static_assert(K % Math::K == 0, "a stage is a whole number of fragments deep");
  static_assert(WARP_N % 32 == 0, "a warp owns whole words of the bit mask");
  // Two blocks on the 100 KB of sm_86, 89 and 120 (each takes 1 KB more for the system), and no
  // need to opt in to more than 48 KB.
  static_assert(SHARED_BYTES <= 48 * 1024, "two blocks an SM everywhere");
};
