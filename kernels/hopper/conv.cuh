// Forward and dgrad on the Hopper core: one walk over row tiles and taps, with two epilogues.
//
// A tile's residual comes by TMA into a staging buffer, once the stages of its first steps are asked for; multipliers
// replace it there by the result, in place; a thread of its own stores that by TMA, while the multipliers go on. So
// nothing between them and the next tile waits for memory.
//
// A `Pass` says what differs:
//   MN_WEIGHTS                    whether weight boxes have k for rows
//   STORERS                       who arrives when the staging buffer has been read
//   p                             arguments: map, channels, dilation, tensor maps `source`, `weights`, `result`
//   taps(m0, count)               bits of the taps that these rows need, at least one
//   lower(), offset(tap)          of the im2col walk: where it begins, by how much it is moved
//   residual()                    its tensor map; moved by one dilation
//   Rows                          epilogue of a multiplier's thread, whose T is the staging buffer's:
//     begin(m, n0)                before a tile, in which this thread has rows m and m + 8 from column n0 on
//     columns(column)             before 32 columns
//     row(m, half, group, v, residual)    row m, columns 32 * group on from n0 as in core/quad.cuh: v <- result
//     end(m, n0), finish()        after a tile, after the last
//     weigh(total, sums, tap)     bytes only: total += what a tap's sums stand for; their taps are always all three
//   help(conv, i)                 what spare warp i = 0, 1 does
#pragma once
#include "tile.cuh"

template <class Tile>
struct StagingBarriers {
  static constexpr uint32_t AT = Tile::BARRIERS_AT + 16 * Tile::STAGES;
  static CBP_DEVICE Mbarrier residual() { return mbarrier_at(AT); }
  static CBP_DEVICE Mbarrier empty() { return mbarrier_at(AT + 8); }
  // A multiplier's 64 rows are complete.
  static CBP_DEVICE Mbarrier ready(uint32_t multiplier) { return mbarrier_at(AT + 16 + 8 * multiplier); }

  static CBP_DEVICE void init(uint32_t storers) {
    residual().init(1);
    empty().init(storers);
    for (uint32_t m = 0; m < MULTIPLIERS; m++) ready(m).init(128);
  }
};

// Byte of 16 bytes of the staging buffer: row, and column (a multiple of 8).
template <class Tile>
CBP_DEVICE uint32_t staged(uint32_t row, uint32_t column) {
  const uint32_t piece = column % BOX_COLUMNS / 8;
  return Tile::STAGING_AT + column / BOX_COLUMNS * Tile::STAGING_BOX + row * BOX_ROW + (piece ^ (row & 7)) * 16;
}

template <class Tile, class Pass>
struct HopperConv {
  using T = typename Tile::Stored;
  using Staging = StagingBarriers<Tile>;
  static constexpr uint32_t CLUSTER_M = CLUSTER * Tile::M;
  const Pass& pass;
  uint32_t rank;

  // Tiles, columns first, so that those of the same rows run together and share them in L2.
  CBP_DEVICE uint32_t tiles_n() const { return pass.p.channels / Tile::N; }
  CBP_DEVICE Walk walk() const { return Walk((pass.p.map.rows + CLUSTER_M - 1) / CLUSTER_M * tiles_n()); }
  CBP_DEVICE uint32_t cluster_row(const Walk& at) const { return at.item / tiles_n() * CLUSTER_M; }
  CBP_DEVICE uint32_t first_row(const Walk& at) const { return cluster_row(at) + rank * Tile::M; }
  CBP_DEVICE uint32_t first_column(const Walk& at) const { return at.item % tiles_n() * Tile::N; }
  CBP_DEVICE uint32_t taps(const Walk& at) const { return pass.taps(cluster_row(at), CLUSTER_M); }
  CBP_DEVICE uint32_t steps(uint32_t taps) const { return popcount(taps) * pass.p.channels / Tile::K; }

  // One thread.
  CBP_DEVICE void load() const {
    Ring<Tile> ring;
    for (Walk at = walk(); at.more(); at.next()) {
      const uint32_t m0 = first_row(at), n0 = first_column(at);
      const uint32_t example = pass.p.map.length.div(m0);
      const int32_t position = int32_t(m0 - example * pass.p.map.length.d) + pass.lower();
      const uint32_t set = taps(at), count = steps(set);
      auto load_residual = [&] {
        Staging::empty().wait(at.parity() ^ 1);
        Staging::residual().expect(Tile::STAGING_BYTES);
#pragma unroll
        for (int box = 0; box < Tile::N / BOX_COLUMNS; box++)
          load_positions(shared_address(Tile::STAGING_AT + box * Tile::STAGING_BOX), pass.residual(),
                         Staging::residual(), n0 + box * BOX_COLUMNS, position, example, pass.p.dilation);
      };
      TapSteps at_k(set, pass.p.channels);
      for (uint32_t step = 0; step < count; step++) {
        const Mbarrier full = ring.next_empty();
        const uint32_t a = shared_address(ring.stage * Tile::STAGE_BYTES);
        const uint32_t column = at_k.channel * sizeof(typename Tile::T) / 2;  // maps count 16 bits
        load_positions(a, pass.p.source, full, column, position, example, pass.offset(at_k.tap));
        load_weights(a + Tile::A_BYTES, full, at_k.tap * pass.p.channels, column, n0);
        ring.advance();
        at_k.advance(Tile::K);
        if (step + 1 == Tile::STAGES) load_residual();
      }
      if (count < Tile::STAGES) load_residual();
    }
  }

  // This block's half of the weights of a step, to both blocks.
  CBP_DEVICE void load_weights(uint32_t to, Mbarrier full, uint32_t tap_row, uint32_t channel, uint32_t n0) const {
    if constexpr (Pass::MN_WEIGHTS) {
      // Boxes of 64 output channels x 64 input channels, one behind the other.
      constexpr uint32_t BOXES = Tile::N / BOX_COLUMNS / CLUSTER;
#pragma unroll
      for (uint32_t i = 0; i < BOXES; i++) {
        const uint32_t box = rank * BOXES + i;
        load_rows(to + box * BOX_BYTES, pass.p.weights, full, n0 + box * BOX_COLUMNS, tap_row + channel, EVERY_BLOCK);
      }
    } else {
      // Input channels for rows, 64 output channels on end.
      constexpr uint32_t ROWS = Tile::N / CLUSTER;
      load_rows(to + rank * ROWS * BOX_ROW, pass.p.weights, full, channel, tap_row + n0 + rank * ROWS, EVERY_BLOCK);
    }
  }

  // One thread.
  CBP_DEVICE void store() const {
    for (Walk at = walk(); at.more(); at.next()) {
      const uint32_t m0 = first_row(at), n0 = first_column(at);
      for (uint32_t half = 0; half < MULTIPLIERS; half++) {
        Staging::ready(half).wait(at.parity());
#pragma unroll
        for (int box = 0; box < Tile::N / BOX_COLUMNS; box++)
          store_rows(pass.p.result, shared_address(Tile::STAGING_AT + box * Tile::STAGING_BOX + half * BOX_BYTES),
                     n0 + box * BOX_COLUMNS, m0 + half * 64);
      }
      store_commit();
      store_wait_read<0>();
      Staging::empty().arrive();
    }
  }

  CBP_DEVICE void multiply_and_finish(uint32_t multiplier) const {
    Ring<Tile> ring;
    typename Pass::Rows rows(pass);
    // This thread's rows in a tile: `row` and the one 8 below.
    const uint32_t in_group = threadIdx.x % 128, row = multiplier * 64 + in_group / 32 * 16 + (in_group & 31) / 4;
    for (Walk at = walk(); at.more(); at.next()) {
      const uint32_t m0 = first_row(at), n0 = first_column(at);
      rows.begin(m0 + row, n0);
      float sums[Tile::N / 2];
      if constexpr (sizeof(typename Tile::T) == 1) {
        multiply_bytes(sums, ring, multiplier, rows);
      } else {
        multiply<Tile, false, Pass::MN_WEIGHTS>(sums, ring, multiplier, steps(taps(at)));
      }
      Staging::residual().wait(at.parity());
      finish(sums, rows, row & ~15u, m0 + row, n0);
      rows.end(m0 + row, n0);
      fence_async();
      Staging::ready(multiplier).arrive();
    }
    rows.finish();
  }

  CBP_DEVICE void multiply_bytes(float (&total)[Tile::N / 2], Ring<Tile>& ring, uint32_t multiplier,
                                 const typename Pass::Rows& rows) const {
#pragma unroll
    for (int i = 0; i < Tile::N / 2; i++) total[i] = 0.f;
    for (uint32_t tap = 0; tap < TAPS; tap++) {
      int32_t sums[Tile::N / 2];
      multiply<Tile, false, false>(sums, ring, multiplier, steps(1));
      rows.weigh(total, sums, tap);
    }
  }

  // In the staging buffer, the result in the place of the residual: 16 rows of a warp, 32 columns at a time.
  CBP_DEVICE void finish(const float (&sums)[Tile::N / 2], typename Pass::Rows& rows, uint32_t warp_row,
                         uint32_t m, uint32_t n0) const {
    // Lane l addresses row l % 16 of columns 8 (l / 16) on: ldmatrix's four matrices are two row halves of two pieces.
    const uint32_t row = warp_row + (lane() & 15), piece = lane() >> 4;
#pragma unroll
    for (int group = 0; group < Tile::N / 32; group++) {
      uint32_t address[2], words[2][4];
#pragma unroll
      for (int pair = 0; pair < 2; pair++) {
        address[pair] = shared_address(staged<Tile>(row, 32 * group + 16 * pair + 8 * piece));
        ldmatrix_x4(words[pair], address[pair]);
      }
      rows.columns(n0 + 32 * group);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float v[8], residual[8];
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const float2 pair = unpack2<T>(words[j / 2][j % 2 * 2 + half]);
          residual[2 * j] = pair.x;
          residual[2 * j + 1] = pair.y;
          v[2 * j] = sums[4 * (4 * group + j) + 2 * half];
          v[2 * j + 1] = sums[4 * (4 * group + j) + 2 * half + 1];
        }
        rows.row(m + 8 * half, half, group, v, residual);
#pragma unroll
        for (int j = 0; j < 4; j++) words[j / 2][j % 2 * 2 + half] = pack2<T>(v[2 * j], v[2 * j + 1]);
      }
      warp_sync();  // all lanes have read what is written over
#pragma unroll
      for (int pair = 0; pair < 2; pair++) stmatrix_x4(address[pair], words[pair]);
    }
  }
};

template <class Tile, class Pass>
CBP_DEVICE void hopper_conv(const Pass& pass) {
  const HopperConv<Tile, Pass> conv{pass, cluster_rank()};
  in_cluster<Tile>([&] { StagingBarriers<Tile>::init(Pass::STORERS); },
                   [&](uint32_t warp) {
                     if (warp == 0) {
                       if (lane() == 0) conv.load();
                     } else if (warp == 1) {
                       if (lane() == 0) conv.store();
                     } else {
                       pass.help(conv, warp - 2);
                     }
                   },
                   [&](uint32_t multiplier) { conv.multiply_and_finish(multiplier); });
}
