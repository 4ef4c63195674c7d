// What an epilogue reads of device memory for a multiplier's thread, asked for AHEAD groups of 32 columns before it is
// needed: the first while the tile is still being multiplied, the others while those before them are finished, in the
// registers that these leave.
#pragma once
#include "../core/quad.cuh"

// `Row` is a lane's share of 32 columns of one row, `load(half, group)` brings it: of the thread's row m or m + 8.
template <class Row, int GROUPS, int AHEAD>
struct Ahead {
  Row rows[AHEAD][2];

  template <class Load>
  CBP_DEVICE void begin(Load load) {
#pragma unroll
    for (int group = 0; group < AHEAD; group++) {
#pragma unroll
      for (int half = 0; half < 2; half++) rows[group][half] = load(half, group);
    }
  }
  CBP_DEVICE Row& at(int half, int group) { return rows[group % AHEAD][half]; }
  // Behind the last use of this row.
  template <class Load>
  CBP_DEVICE void next(int half, int group, Load load) {
    if (group + AHEAD < GROUPS) rows[group % AHEAD][half] = load(half, group + AHEAD);
  }
};
