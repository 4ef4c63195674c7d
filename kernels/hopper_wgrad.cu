// hopper_wgrad: dilated_wgrad for Hopper (its mathematics, layouts and splits), by wgmma and TMA
// in   x T [B, L, C]   dz_out T [B, L-2d, C]      C a multiple of N
// out  partials f32 [splits, 3*C, C], row t*C + i
//      overflow: raised when a sum is not finite
// T    half, bfloat16
// source: gradient of the official layer bpnet_{i}conv.   reference: engine/cpu/dilated.rs
//
//   tile          value              reason
//   block         128 rows x N       rows of [3 C], all of one tap; N = 256 or 128, as hopper_forward
//   cluster       2 blocks along m   share dz: each loads half, for both. At C = 128 the fourth of four row tiles is
//                                    not there: a quarter of the work is thrown away
//   k step        64 flat rows       both operands lie across k; wgmma transposes 16-bit operands from shared memory
//   stages        4 of 48 KB, or 6 of 32    no staging: sums go to memory from registers, a sector a quad
//   grid          66 clusters        as hopper_forward; the tiles of a split on end, so that they share its rows in L2
//   splits        11 at C = 512      132 items: two for each cluster
//
//   At 512 filters, batch 64:
//   roofline      layer 1: 210 GFLOP, 309 MB (35 of partials) -> 681 FLOP/B: compute bound (layer 8: 510)
//   floor         as forward: 1.88 ms for eight layers at 790 TFLOP/s (H200)
//   memory        layer 1: 72 us at 4.3 TB/s (H200)
//   predicted     75-85 % of the floor at first: 2.2-2.5 ms
//   measured      unmeasured
//   registers     of a multiplier, as hopper_forward: N = 256 152, 128 88; no spills, no stack
//   tolerance     relative L2 1e-6 (products of 16-bit operands are exact in f32); see tests/suite/kernels/hopper

#include "core/epilogue.cuh"
#include "hopper/tile.cuh"

struct HopperWgradArgs {
  TensorMap x;                // [B, L_in, C], boxes of 64 positions, im2col from 0 to -2 d
  TensorMap dz;               // dz_out [B * L_out, C], boxes of 64 rows
  Global<float> partials;     // [splits][3 C][C]
  Global<uint32_t> overflow;  // raised to 1
  RowMap map;                 // rows of dz_out, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t splits;
  uint32_t padding[4];
};

template <class Tile>
struct HopperWgrad {
  const HopperWgradArgs& p;
  uint32_t rank;

  // A tile and its part of the rows.
  struct Item {
    uint32_t split, m0, n0;
    uint32_t first, steps;  // of 64 rows
  };

  CBP_DEVICE uint32_t tiles_n() const { return p.channels / Tile::N; }
  CBP_DEVICE uint32_t tiles() const { return (TAPS * p.channels + 2 * Tile::M - 1) / (2 * Tile::M) * tiles_n(); }
  CBP_DEVICE Walk walk() const { return Walk(tiles() * p.splits); }
  CBP_DEVICE Item item(const Walk& at) const {
    const uint32_t split = at.item / tiles(), tile = at.item % tiles();
    // A schedule of the shape alone, so every device sums alike.
    const uint64_t steps = (p.map.rows + Tile::K - 1) / Tile::K;
    const uint32_t first = split * steps / p.splits, last = (split + 1) * steps / p.splits;
    const uint32_t m0 = (tile / tiles_n() * CLUSTER + rank) * Tile::M, n0 = tile % tiles_n() * Tile::N;
    // An empty part is one step behind the last row: zeros.
    return first < last ? Item{split, m0, n0, first, last - first} : Item{split, m0, n0, uint32_t(steps), 1};
  }

  // One thread.
  CBP_DEVICE void load() const {
    constexpr uint32_t BOXES_A = Tile::M / BOX_COLUMNS, BOXES_B = Tile::N / BOX_COLUMNS / CLUSTER;
    Ring<Tile> ring;
    for (Walk at = walk(); at.more(); at.next()) {
      const Item work = item(at);
      const uint32_t tap = work.m0 / p.channels, channel = work.m0 % p.channels;
      uint32_t row = work.first * Tile::K, example = p.map.length.div(row), position = row - example * p.map.length.d;
      for (uint32_t step = 0; step < work.steps; step++) {
        const Mbarrier full = ring.next_empty();
        const uint32_t a = shared_address(ring.stage * Tile::STAGE_BYTES), b = a + Tile::A_BYTES;
#pragma unroll
        for (uint32_t box = 0; box < BOXES_A; box++)
          load_positions(a + box * BOX_BYTES, p.x, full, channel + box * BOX_COLUMNS, position, example,
                         tap * p.dilation);
#pragma unroll
        for (uint32_t i = 0; i < BOXES_B; i++) {
          const uint32_t box = rank * BOXES_B + i;
          load_rows(b + box * BOX_BYTES, p.dz, full, work.n0 + box * BOX_COLUMNS, row, EVERY_BLOCK);
        }
        ring.advance();
        row += Tile::K;
        for (position += Tile::K; position >= p.map.length.d; position -= p.map.length.d) example++;
      }
    }
  }

  CBP_DEVICE void multiply_and_store(uint32_t multiplier) const {
    Ring<Tile> ring;
    const uint32_t rows = TAPS * p.channels, in_group = threadIdx.x % 128;
    const uint32_t row = multiplier * 64 + in_group / 32 * 16 + lane() / 4;
    Overflow overflow;
    for (Walk at = walk(); at.more(); at.next()) {
      const Item work = item(at);
      float sums[Tile::N / 2];
      multiply<Tile, true, true>(sums, ring, multiplier, work.steps);
      StorePartial epilogue{p.partials + uint64_t(work.split) * rows * p.channels, rows, p.channels, overflow};
#pragma unroll
      for (int group = 0; group < Tile::N / 32; group++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          float v[8];
#pragma unroll
          for (int j = 0; j < 8; j++) v[j] = sums[16 * group + 4 * (j / 2) + 2 * half + j % 2];
          epilogue.row(work.m0 + row + 8 * half, work.n0 + 32 * group, v);
        }
      }
      overflow = epilogue.overflow;
    }
    overflow.raise(p.overflow);
  }
};

template <class Tile>
CBP_DEVICE void hopper_wgrad(const HopperWgradArgs& p) {
  const HopperWgrad<Tile> wgrad{p, cluster_rank()};
  in_cluster<Tile>([] {},
                   [&](uint32_t warp) {
                     if (warp == 0 && lane() == 0) wgrad.load();
                   },
                   [&](uint32_t multiplier) { wgrad.multiply_and_store(multiplier); });
}

#define HOPPER_WGRAD(type, T, n, stages)                                                     \
  CBP_CLUSTER_KERNEL(hopper_wgrad_##type##_n##n, HopperWgradArgs, HOPPER_THREADS, CLUSTER) { \
    hopper_wgrad<HopperTile<T, n, stages, false>>(p);                                        \
  }
HOPPER_WGRAD(f16, half_t, 256, 4)
HOPPER_WGRAD(f16, half_t, 128, 6)
HOPPER_WGRAD(bf16, bf16_t, 256, 4)
HOPPER_WGRAD(bf16, bf16_t, 128, 6)
