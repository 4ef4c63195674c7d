// Planted bugs of synchronisation between the threads of a block. All compute out[t] = in[other thread].
#include "planted.cuh"

// The reader may come before the writer.
CBP_KERNEL(missing_block_sync, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  tile[threadIdx.x] = p.in[own()];
  if (!p.bug) block_sync();
  p.out[own()] = tile[other()];
}

// The tile's second content may overwrite the first before all have read it.
CBP_KERNEL(missing_sync_before_reuse, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  float sum = 0.0f;
  for (int round = 0; round < 2; round++) {
    tile[threadIdx.x] = (round == 0 ? 0.25f : 0.75f) * p.in[own()];
    block_sync();
    sum += tile[other()];
    if (!p.bug) block_sync();
  }
  p.out[own()] = sum;
}

// Lanes of a warp do not run in step.
CBP_KERNEL(missing_warp_sync, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  tile[threadIdx.x] = p.in[own()];
  if (!p.bug) warp_sync();
  p.out[own()] = tile[threadIdx.x ^ 1];
}

// Two blocks have no order, and here not two places either.
CBP_KERNEL(blocks_write_one_address, Planted, THREADS, 1) { p.out[p.bug ? threadIdx.x : own()] = p.in[own()]; }

// Nor does the end of one block's writes reach another block of the same launch.
CBP_KERNEL(block_reads_another, Planted, THREADS, 1) {
  p.out[own()] = p.in[own()];
  const uint32_t next = (blockIdx.x + 1) % gridDim.x * THREADS + threadIdx.x;
  if (p.bug) p.out[own()] = p.out[next];
}

// Threads of one block, device memory.
CBP_KERNEL(missing_sync_in_global, Planted, THREADS, 1) {
  p.out[own()] = p.in[own()];
  if (!p.bug) block_sync();
  const float v = p.out[blockIdx.x * THREADS + other()];
  block_sync();
  p.out[own()] = v;
}

// Flags may be raised by all at once, but only atomically. out[0] of the block: whether any input was positive.
CBP_KERNEL(flag_without_atomic, Planted, THREADS, 1) {
  const auto flag = p.out.template as<uint32_t>();
  if (p.bug) {
    flag[0] = 1u;
  } else {
    atomic_or(flag, 1u);
  }
}

// ---- divergence

CBP_KERNEL(barrier_in_branch, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  tile[threadIdx.x] = p.in[own()];
  if (!p.bug || threadIdx.x < 96) block_sync();
  p.out[own()] = p.bug ? 0.0f : tile[other()];
}

// The two barriers of a branch within one warp.
CBP_KERNEL(barriers_of_two_branches, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  tile[threadIdx.x] = p.in[own()];
  if (p.bug && lane() < 16) {
    block_sync();
  } else {
    block_sync();
  }
  p.out[own()] = tile[other()];
}

CBP_KERNEL(return_before_barrier, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  tile[threadIdx.x] = p.in[own()];
  if (p.bug && threadIdx.x == 77) return;
  block_sync();
  p.out[own()] = tile[other()];
}

// out[t] = in[t ^ 1] by a shuffle that half of the lanes make elsewhere.
CBP_KERNEL(lanes_at_two_shuffles, Planted, THREADS, 1) {
  float v = p.in[own()];
  if (p.bug && lane() < 16) {
    v = shfl_xor(v, 1);
  } else {
    v = shfl_xor(v, 1);
  }
  p.out[own()] = v;
}

// Never ends on a GPU: lane 31 has left, the others wait for it.
CBP_KERNEL(lane_missing_at_shuffle, Planted, THREADS, 1) {
  float v = p.in[own()];
  if (p.bug && lane() == 31) return;
  v = shfl_xor(v, 1);
  p.out[own()] = v;
}

// Never ends on a GPU: one lane waits for the block, the others for that lane.
CBP_KERNEL(barrier_against_shuffle, Planted, THREADS, 1) {
  float v = p.in[own()];
  if (p.bug && lane() == 3) block_sync();
  v = shfl_xor(v, 1);
  p.out[own()] = v;
}
