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

// A stage of one operand: MN x K elements, in rows along its contiguous index. The chunks of a row
// are permuted, differently from row to row, so that fragments are read without bank conflicts.
template <class T, Major MAJOR_, int MN, int K>
struct StageTile {
  using Element = T;
  static constexpr Major MAJOR = MAJOR_;
  static constexpr int PER_CHUNK = CHUNK / int(sizeof(T));
  static constexpr int ROWS = MAJOR == Major::K ? MN : K;
  static constexpr int CHUNKS = (MAJOR == Major::K ? K : MN) / PER_CHUNK;
  static constexpr int PITCH = CHUNKS * CHUNK;
  static constexpr int BYTES = ROWS * PITCH;
  // 32-bit elements have no transposing ldmatrix and are read one by one where k runs over rows.
  static constexpr bool BY_ELEMENT = sizeof(T) == 4 && MAJOR == Major::MN;
  // Rows after which the permutations come again.
  static constexpr int PERIOD = BY_ELEMENT ? 4 : 8;
  static_assert((CHUNKS & (CHUNKS - 1)) == 0 && CHUNKS >= (BY_ELEMENT ? 8 : 4),
                "the permutation stays inside a row");

  // Byte of chunk `chunk` of row `row`.
  static CBP_DEVICE constexpr uint32_t offset(uint32_t row, uint32_t chunk) {
    const uint32_t key = BY_ELEMENT ? (row & 3) << 1 : CHUNKS == 4 ? (row >> 1) & 3 : row & 7;
    return row * PITCH + (chunk ^ key) * CHUNK;
  }
};

// Whether what one instruction reads together touches each of the 32 four-byte banks once: a column
// of chunks of 8 rows (ldmatrix), or 4 rows x 8 elements.
template <class Stage>
constexpr bool reads_every_bank() {
  for (uint32_t row = 0; row < Stage::ROWS; row += Stage::PERIOD) {
    for (uint32_t chunk = 0; chunk < Stage::CHUNKS; chunk += Stage::BY_ELEMENT ? 2 : 1) {
      uint32_t banks = 0;
      for (uint32_t word = 0; word < 32; word++) {
        const uint32_t r = Stage::BY_ELEMENT ? word / 8 : word / 4;
        const uint32_t c = Stage::BY_ELEMENT ? word % 8 / 4 : 0;
        banks |= 1u << (Stage::offset(row + r, chunk + c) / 4 + word % 4) % 32;
      }
      if (banks != ~0u) return false;
    }
  }
  return true;
}

// A block's geometry on the tensor cores for arithmetic `Math_` (math.cuh) and N columns.
template <class Math_, int N_, Major MAJOR_A, Major MAJOR_B, int WARPS_ = 4,
          int STAGES_ = N_ == 128 ? 3 : 4>
struct Tile {
  using Math = Math_;
  using Element = typename Math::Element;
  static constexpr int M = 128;
  static constexpr int N = N_;
  static constexpr int K = 64 / int(sizeof(Element));
  static constexpr int WARPS = WARPS_;
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
  static constexpr int STAGES = STAGES_;
  static constexpr int STAGE_BYTES = A::BYTES + B::BYTES;
  static constexpr int SHARED_BYTES = STAGES * STAGE_BYTES;

  // A warp's share of D as mma.sync lays it out. Lane 4g + q holds, of fragment (i, j), rows
  // 16i + g (elements 0, 1) and 16i + g + 8 (elements 2, 3), columns 8j + 2q and 8j + 2q + 1.
  template <class T>
  struct Fragments {
    T d[FRAGMENTS_M][FRAGMENTS_N][4];
  };
  using Sums = Fragments<typename Math::Sum>;

  static_assert(reads_every_bank<A>() && reads_every_bank<B>(), "no bank conflicts");
  static_assert(N == 128 || N == 64 || N == 32, "N divides the channels, a multiple of 32");
  static_assert(K % Math::K == 0, "a stage is a whole number of fragments deep");
  static_assert(WARP_N % 32 == 0, "a warp owns whole words of the bit mask");
  // Eight warps on the 100 KB of sm_86, 89 and 120 (each block takes 1 KB more for the system): two
  // blocks of four, without asking for more than 48 KB, or one of eight.
  static_assert(SHARED_BYTES <= WARPS * 12 * 1024, "eight warps an SM everywhere");
};
