// Planted bugs of Hopper's primitives, chosen by number as in tests/suite/kernels/hopper/planted.rs; 0 is right.
#include "../../prims/hopper.cuh"

struct PlantedHopper {
  TensorMap in, out;  // halves [256][64], boxes of 64 rows
  uint32_t bug, unused[15];
};

constexpr uint32_t BOX = 64 * 128;  // bytes

enum PipelineBug : uint32_t {
  NOT_WAITED = 1,
  FEWER_BYTES,
  NO_INIT_FENCE,
  NO_CLUSTER_SYNC,
  REFILLED,
  NO_ASYNC_FENCE,
  STORE_NOT_WAITED,
  WRONG_SWIZZLE,
  ONE_ARRIVAL_MORE,
  STORED_TOO_EARLY,
  STORE_NEVER_WAITED,
  WRONG_MULTICAST,
};

// Two blocks, two rounds: each block loads 64 rows for both, adds the two boxes, multiplies by 1 + its rank, and stores
// the result: out[(2 round + rank) * 64 + i] = (1 + rank) (in[2 round * 64 + i] + in[(2 round + 1) * 64 + i]).
CBP_CLUSTER_KERNEL(planted_pipeline, PlantedHopper, 128, 2) {
  constexpr uint32_t STAGING = 2 * BOX, BARRIERS = 3 * BOX;
  const Mbarrier full = mbarrier_at(BARRIERS), empty = mbarrier_at(BARRIERS + 8), ready = mbarrier_at(BARRIERS + 16);
  const uint32_t rank = cluster_rank(), leader = threadIdx.x == 0;
  auto address = [](uint32_t byte) { return shared_at<uint8_t>(byte).address(); };
  if (leader) {
    full.init(1);
    empty.init(2 * 128);
    ready.init(128);
    if (p.bug != NO_INIT_FENCE) fence_barrier_init();
  }
  if (p.bug != NO_CLUSTER_SYNC) cluster_sync();
  for (uint32_t round = 0; round < 2; round++) {
    if (leader) {
      if (round > 0 && p.bug != REFILLED) empty.wait(0);
      full.expect(p.bug == FEWER_BYTES ? 2 * BOX - 128 : 2 * BOX);
      load_rows(address(rank * BOX), p.in, full, 0, (2 * round + rank) * 64, p.bug == WRONG_MULTICAST ? 1u << rank : 3);
    }
    if (p.bug != NOT_WAITED) full.wait(round);
    // Thread t: half of row t / 2.
    const uint32_t row = threadIdx.x / 2;
    uint32_t sums[4][4];
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t piece = threadIdx.x % 2 * 4 + i, place = p.bug == WRONG_SWIZZLE ? piece : piece ^ (row & 7);
      const uint32_t at = row * 128 + place * 16;
      const uint4 left = load_vec<uint4>(shared_at<uint4>(at), 0);
      const uint4 right = load_vec<uint4>(shared_at<uint4>(BOX + at), 0);
      const uint32_t l[4] = {left.x, left.y, left.z, left.w}, r[4] = {right.x, right.y, right.z, right.w};
      for (uint32_t j = 0; j < 4; j++) {
        const float2 a = unpack2<half_t>(l[j]), b = unpack2<half_t>(r[j]);
        sums[i][j] = pack2<half_t>((1.f + rank) * (a.x + b.x), (1.f + rank) * (a.y + b.y));
      }
    }
    empty.arrive_at(0);
    empty.arrive_at(1);
    if (p.bug == ONE_ARRIVAL_MORE && threadIdx.x == 9) empty.arrive_at(1 - rank);
    if (leader && round > 0 && p.bug != STORE_NOT_WAITED) store_wait_read<0>();
    block_sync();
    for (uint32_t i = 0; i < 4; i++) {
      const uint32_t piece = threadIdx.x % 2 * 4 + i;
      store_vec(shared_at<uint4>(STAGING + row * 128 + (piece ^ (row & 7)) * 16), 0,
                make_uint4(sums[i][0], sums[i][1], sums[i][2], sums[i][3]));
    }
    if (p.bug != NO_ASYNC_FENCE) fence_async();
    ready.arrive();
    if (leader) {
      if (p.bug != STORED_TOO_EARLY) ready.wait(round);
      store_rows(p.out, address(STAGING), 0, (2 * round + rank) * 64);
      store_commit();
    }
  }
  if (leader && p.bug != STORE_NEVER_WAITED) store_wait_read<0>();
  cluster_sync();
}

struct PlantedProduct {
  TensorMap a;        // halves [64][64], m and k; boxes of 64 rows
  TensorMap b;        // halves [64][128], k and n; boxes of 64 rows
  Global<float> out;  // [64][128]
  uint32_t bug, unused[13];
};

enum ProductBug : uint32_t {
  OPERAND_NOT_WAITED = 1,
  NO_WGMMA_FENCE,
  OPERAND_OVERWRITTEN,
  SUMS_READ_TOO_EARLY,
  WRONG_LEADING,
  WRONG_K_STEP,
  WRONG_MAJOR,
  DESCRIPTORS_DIFFER,
  PLAIN_WRITE,
  NO_COMMIT,
  THREADS_AT_TWO_PRODUCTS,
};

// out = a b by one warpgroup: a K-major, b MN-major.
CBP_CLUSTER_KERNEL(planted_product, PlantedProduct, 128, 1) {
  constexpr uint32_t A = 0, B = BOX, BARRIERS = 3 * BOX;
  const Mbarrier full = mbarrier_at(BARRIERS), again = mbarrier_at(BARRIERS + 8);
  auto address = [](uint32_t byte) { return shared_at<uint8_t>(byte).address(); };
  const bool leader = threadIdx.x == 0;
  if (leader) {
    full.init(1);
    again.init(1);
    fence_barrier_init();
  }
  cluster_sync();
  if (leader) {
    full.expect(3 * BOX);
    load_rows(address(A), p.a, full, 0, 0, 1);
    load_rows(address(B), p.b, full, 0, 0, 1);
    load_rows(address(B + BOX), p.b, full, 64, 0, 1);
  }
  if (p.bug != OPERAND_NOT_WAITED) full.wait(0);
  if (p.bug == PLAIN_WRITE) {
    if (leader) shared_at<uint16_t>(A)[0] = shared_at<uint16_t>(A)[0];
    block_sync();
  }
  float d[64];
  hold(d);
  if (p.bug != NO_WGMMA_FENCE) wgmma_fence();
  for (uint32_t k = 0; k < 4; k++) {
    const uint64_t a = swizzled_operand(address(A) + k * (p.bug == WRONG_K_STEP ? 16 : 32), 16);
    const uint64_t other = p.bug == DESCRIPTORS_DIFFER && threadIdx.x == 77 ? 2 : 0;
    const uint64_t b = swizzled_operand(address(B) + k * 2048, p.bug == WRONG_LEADING ? BOX / 2 : BOX) + other;
    if (p.bug == WRONG_MAJOR) {
      wgmma<half_t, 128, true, true>(d, a, b, k > 0);
    } else if (p.bug == THREADS_AT_TWO_PRODUCTS && warp() == 2) {
      wgmma<half_t, 128, false, true>(d, a, b, k > 0);
    } else {
      wgmma<half_t, 128, false, true>(d, a, b, k > 0);
    }
  }
  if (p.bug != NO_COMMIT) wgmma_commit();
  hold(d);
  const float early = d[3];
  if (p.bug == OPERAND_OVERWRITTEN && leader) {
    again.expect(BOX);
    load_rows(address(A), p.a, again, 0, 0, 1);
  }
  wgmma_wait<0>();
  hold(d);
  if (p.bug == OPERAND_OVERWRITTEN) again.wait(0);
  if (p.bug == SUMS_READ_TOO_EARLY) d[3] = early;
  const uint32_t row = warp() * 16 + lane() / 4;
  for (uint32_t i = 0; i < 64; i++)
    p.out[(row + 8 * (i / 2 % 2)) * 128 + i / 4 * 8 + lane() % 4 * 2 + i % 2] = d[i];
  cluster_sync();
}

// What a box of 64 positions has: halves [64][64], unpermuted.
struct PositionsProbe {
  TensorMap map;
  Global<uint16_t> out;
  int32_t c, l, n;
  uint32_t offset, unused[10];
};
CBP_CLUSTER_KERNEL(probe_positions, PositionsProbe, 128, 1) {
  const Mbarrier full = mbarrier_at(BOX);
  if (threadIdx.x == 0) {
    full.init(1);
    fence_barrier_init();
    full.expect(BOX);
    load_positions(shared_at<uint8_t>(0).address(), p.map, full, p.c, p.l, p.n, p.offset);
  }
  cluster_sync();
  full.wait(0);
  for (uint32_t i = threadIdx.x; i < 64 * 64; i += 128) {
    const uint32_t row = i / 64, piece = i % 64 / 8;
    p.out[i] = shared_at<uint16_t>(row * 128 + (piece ^ (row & 7)) * 16)[i % 8];
  }
}

// out = 2 a b of bytes by one warpgroup: a u8 [64][128], b s8 [128 columns][128], each product twice.
struct BytesProbe {
  TensorMap a, b;  // pairs of bytes
  Global<int32_t> out;
  uint32_t unused[14];
};
CBP_CLUSTER_KERNEL(probe_wgmma_bytes, BytesProbe, 128, 1) {
  constexpr uint32_t A = 0, B = BOX, BARRIER = 3 * BOX;
  const Mbarrier full = mbarrier_at(BARRIER);
  auto address = [](uint32_t byte) { return shared_at<uint8_t>(byte).address(); };
  if (threadIdx.x == 0) {
    full.init(1);
    fence_barrier_init();
    full.expect(3 * BOX);
    load_rows(address(A), p.a, full, 0, 0, 1);
    load_rows(address(B), p.b, full, 0, 0, 1);
    load_rows(address(B + BOX), p.b, full, 0, 64, 1);
  }
  cluster_sync();
  full.wait(0);
  int32_t d[64];
  hold(d);
  wgmma_fence();
  for (uint32_t k = 0; k < 8; k++)
    wgmma_u8s8(d, swizzled_operand(address(A) + k % 4 * 32, 16), swizzled_operand(address(B) + k % 4 * 32, 16), k > 0);
  wgmma_commit();
  hold(d);
  wgmma_wait<0>();
  hold(d);
  const uint32_t row = warp() * 16 + lane() / 4;
  for (uint32_t i = 0; i < 64; i++)
    p.out[(row + 8 * (i / 2 % 2)) * 128 + i / 4 * 8 + lane() % 4 * 2 + i % 2] = d[i];
  cluster_sync();
}
