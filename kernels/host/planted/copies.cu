// Planted bugs of asynchronous copies. Thread t < 32 copies the 16 bytes of elements 4t.. of a block's input.
#include "planted.cuh"

CBP_DEVICE void copy_tile(const Planted& p, uint32_t tile, uint32_t from_block) {
  if (threadIdx.x < 32) {
    const auto to = shared_at<float>(tile * TILE_BYTES) + threadIdx.x * 4;
    cp_async16(to.address(), p.in + (from_block * THREADS + threadIdx.x * 4), true);
  }
  cp_async_commit();
}

CBP_KERNEL(missing_copy_wait, Planted, THREADS, 1) {
  copy_tile(p, 0, blockIdx.x);
  if (!p.bug) cp_async_wait<0>();
  block_sync();
  p.out[own()] = shared_at<float>(0)[other()];
}

// Two groups are under way and the second is read: none may be left.
CBP_KERNEL(wrong_wait_count, Planted, THREADS, 1) {
  copy_tile(p, 0, blockIdx.x);
  copy_tile(p, 1, blockIdx.x);
  if (p.bug) {
    cp_async_wait<1>();
  } else {
    cp_async_wait<0>();
  }
  block_sync();
  p.out[own()] = shared_at<float>(TILE_BYTES)[other()];
}

// The wait is for the copies of the thread itself.
CBP_KERNEL(missing_sync_after_wait, Planted, THREADS, 1) {
  copy_tile(p, 0, blockIdx.x);
  cp_async_wait<0>();
  if (!p.bug) block_sync();
  p.out[own()] = shared_at<float>(0)[other()];
}

// A wait without a commit waits for nothing.
CBP_KERNEL(missing_commit, Planted, THREADS, 1) {
  if (threadIdx.x < 32) {
    const auto to = shared_at<float>(0) + threadIdx.x * 4;
    cp_async16(to.address(), p.in + (blockIdx.x * THREADS + threadIdx.x * 4), true);
  }
  if (!p.bug) cp_async_commit();
  cp_async_wait<0>();
  block_sync();
  p.out[own()] = shared_at<float>(0)[other()];
}

// A pipeline of two stages over four rounds, each the input of the next block: the stage just read is filled again
// only behind a barrier. out[t] = mean over the rounds.
CBP_KERNEL(stage_filled_too_early, Planted, THREADS, 1) {
  copy_tile(p, 0, blockIdx.x);
  float sum = 0.0f;
  for (uint32_t round = 0; round < 4; round++) {
    if (round < 3) copy_tile(p, (round + 1) % 2, (blockIdx.x + round + 1) % gridDim.x);
    if (round < 3) {
      cp_async_wait<1>();
    } else {
      cp_async_wait<0>();
    }
    block_sync();
    sum += 0.25f * shared_at<float>(round % 2 * TILE_BYTES)[other()];
    if (!p.bug) block_sync();
  }
  p.out[own()] = sum;
}

// An invalid copy writes zeros and reads nothing, so its source may be anywhere.
CBP_KERNEL(invalid_copy_zero_fills, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  if (threadIdx.x < 32) {
    const bool valid = threadIdx.x % 2 == 0;
    const auto src = p.in + (valid ? blockIdx.x * THREADS + threadIdx.x * 4 : 1u << 20);
    cp_async16((tile + threadIdx.x * 4).address(), src, p.bug ? true : valid);
  }
  cp_async_commit();
  cp_async_wait<0>();
  block_sync();
  p.out[own()] = tile[threadIdx.x];
}

// Shared addresses do not start at 0: an offset is not one.
CBP_KERNEL(offset_for_an_address, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  if (threadIdx.x < 32) {
    const uint32_t to = p.bug ? threadIdx.x * 16 : (tile + threadIdx.x * 4).address();
    cp_async16(to, p.in + (blockIdx.x * THREADS + threadIdx.x * 4), true);
  }
  cp_async_commit();
  cp_async_wait<0>();
  block_sync();
  p.out[own()] = tile[other()];
}
