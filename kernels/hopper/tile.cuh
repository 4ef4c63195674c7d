// The shape of a block's work on the Hopper core, and the ring through which its operands come.
//
// Two blocks are a cluster: they own two row tiles on end and share the columns, so each loads its own rows and half of
// the other operand, for both. Of a block's three warpgroups the first loads, stores and helps; the other two multiply
// 64 rows each. Shared memory holds boxes of TMA (prims/hopper.cuh): rows of 128 bytes, 64 elements.
#pragma once
#include "../core/operands.cuh"
#include "../prims/hopper.cuh"

constexpr uint32_t CLUSTER = 2;
constexpr uint32_t EVERY_BLOCK = (1u << CLUSTER) - 1;
constexpr int BOX_COLUMNS = 64;
constexpr int BOX_ROW = 128;              // bytes
constexpr int BOX_BYTES = 64 * BOX_ROW;   // of 64 rows
constexpr int MULTIPLIERS = 2;            // warpgroups
constexpr int HOPPER_THREADS = (1 + MULTIPLIERS) * 128;

// Operands are T, the staging buffer is of 16-bit elements `Stored`.
template <class T_, int N_, int STAGES_, bool STAGING, class Stored_ = T_>
struct HopperTile {
  using T = T_;
  using Stored = Stored_;
  static constexpr int M = 128;
  static constexpr int N = N_;
  static constexpr int K = BOX_ROW / int(sizeof(T));
  static constexpr int STAGES = STAGES_;
  static constexpr int A_BYTES = M * K * int(sizeof(T));
  static constexpr int B_BYTES = N * K * int(sizeof(T));
  static constexpr int STAGE_BYTES = A_BYTES + B_BYTES;
  // Residual in, result out: boxes of all M rows, one for every 64 columns.
  static constexpr int STAGING_AT = STAGES * STAGE_BYTES;
  static constexpr int STAGING_BOX = M * BOX_ROW;
  static constexpr int STAGING_BYTES = STAGING ? N / BOX_COLUMNS * STAGING_BOX : 0;
  static constexpr int BARRIERS_AT = STAGING_AT + STAGING_BYTES;
  static constexpr int SHARED_BYTES = BARRIERS_AT + 8 * (2 * STAGES + 4);
  static_assert(sizeof(T) <= 2 && sizeof(Stored) == 2 && M == MULTIPLIERS * 64, "wgmma is 64 rows");
  static_assert(SHARED_BYTES <= 232448, "what a block can have on Hopper");
  // Registers a thread, of all that a block has.
  static constexpr int OTHERS_REGISTERS = 56, MULTIPLIER_REGISTERS = 224;
  static_assert(128 * (OTHERS_REGISTERS + MULTIPLIERS * MULTIPLIER_REGISTERS) <= 65536, "an SM has 65536");
};

// Where a thread is in the ring. full[s] hears of the copies into stage s; empty[s] of every multiplier of the cluster
// that has read it, since half of what a block loads goes to the other block too.
template <class Tile>
struct Ring {
  uint32_t stage = 0, round = 0;

  static CBP_DEVICE Mbarrier full(uint32_t s) { return mbarrier_at(Tile::BARRIERS_AT + 8 * s); }
  static CBP_DEVICE Mbarrier empty(uint32_t s) { return mbarrier_at(Tile::BARRIERS_AT + 8 * (Tile::STAGES + s)); }

  static CBP_DEVICE void init() {
    for (uint32_t s = 0; s < Tile::STAGES; s++) {
      full(s).init(1);
      empty(s).init(CLUSTER * MULTIPLIERS);
    }
  }
  CBP_DEVICE void advance() {
    if (++stage == Tile::STAGES) {
      stage = 0;
      round ^= 1;
    }
  }
  // The loader's turn: the barrier to report to. Nobody waits in the first round.
  CBP_DEVICE Mbarrier next_empty() const {
    empty(stage).wait(round ^ 1);
    full(stage).expect(Tile::STAGE_BYTES);
    return full(stage);
  }
  // By all threads of a multiplier: it reads stage `s` no more.
  static CBP_DEVICE void release(uint32_t s) {
    if (threadIdx.x % 128 < CLUSTER) empty(s).arrive_at(threadIdx.x % 128);
  }
};

// The items of a cluster, every so many-th of all.
struct Walk {
  uint32_t items, item, count;

  CBP_DEVICE explicit Walk(uint32_t items) : items(items), item(blockIdx.x / CLUSTER), count(0) {}
  CBP_DEVICE bool more() const { return item < items; }
  CBP_DEVICE void next() {
    item += gridDim.x / CLUSTER;
    count++;
  }
  CBP_DEVICE uint32_t parity() const { return count & 1; }
};

CBP_DEVICE uint32_t shared_address(uint32_t byte_offset) { return shared_at<uint8_t>(byte_offset).address(); }

template <class Tile, bool MN_A, bool MN_B>
CBP_DEVICE void product(float (&sums)[Tile::N / 2], uint64_t a, uint64_t b, bool add) {
  wgmma<typename Tile::T, Tile::N, MN_A, MN_B>(sums, a, b, add);
}
template <class Tile, bool MN_A, bool MN_B>
CBP_DEVICE void product(int32_t (&sums)[Tile::N / 2], uint64_t a, uint64_t b, bool add) {
  static_assert(!MN_A && !MN_B, "bytes are K-major");
  wgmma_u8s8(sums, a, b, add);
}

// A multiplier's sums: `steps` stages, one or more, 64 rows of A and all of B each. MN_A, MN_B: whether rows of the
// boxes are k. (Sums of no steps as a case of their own made ptxas spill 100 registers.)
template <class Tile, bool MN_A, bool MN_B, class Sum>
CBP_DEVICE void multiply(Sum (&sums)[Tile::N / 2], Ring<Tile>& ring, uint32_t multiplier, uint32_t steps) {
  // From 16 of k (bytes: 32) to the next, and (MN-major) from 64 columns to the next.
  constexpr uint32_t NEXT_A = MN_A ? 16 * BOX_ROW : 32, NEXT_B = MN_B ? 16 * BOX_ROW : 32;
  constexpr uint32_t LEADING = MN_B ? BOX_BYTES : 16;  // 16: not looked at
  uint32_t previous = 0;
  for (uint32_t step = 0; step < steps; step++) {
    ring.full(ring.stage).wait(ring.round);
    const uint32_t a = shared_address(ring.stage * Tile::STAGE_BYTES) + multiplier * BOX_BYTES;
    const uint32_t b = shared_address(ring.stage * Tile::STAGE_BYTES) + Tile::A_BYTES;
    hold(sums);
    wgmma_fence();
#pragma unroll
    for (uint32_t k = 0; k < BOX_ROW / 32; k++)
      product<Tile, MN_A, MN_B>(sums, swizzled_operand(a + k * NEXT_A, 16), swizzled_operand(b + k * NEXT_B, LEADING),
                                step + k > 0);
    wgmma_commit();
    hold(sums);
    wgmma_wait<1>();  // one stage stays under way
    if (step > 0) ring.release(previous);
    previous = ring.stage;
    ring.advance();
  }
  wgmma_wait<0>();
  hold(sums);
  ring.release(previous);
}

// What every kernel of this core does around its work: `loaders(warp)` by the first warpgroup, `multiplier(i)` by the
// others. No block ends before the other has sent it its last arrival.
template <class Tile, class Init, class Loaders, class Multiplier>
CBP_DEVICE void in_cluster(Init init, Loaders loaders, Multiplier multiplier) {
  if (threadIdx.x == 0) {
    Ring<Tile>::init();
    init();
    fence_barrier_init();
  }
  cluster_sync();
  const uint32_t group = shfl(threadIdx.x / 128, 0);  // known to be the same for a warp
  if (group == 0) {
    registers_give<Tile::OTHERS_REGISTERS>();
    loaders(shfl(warp(), 0));
  } else {
    registers_take<Tile::MULTIPLIER_REGISTERS>();
    multiplier(group - 1);
  }
  warp_sync();  // a warp arrives at the cluster's barrier whole, also where one lane had all the work
  cluster_sync();
}
