// Planted bugs of addresses. All compute out[t] = in[t] when right.
#include "planted.cuh"

CBP_KERNEL(read_past_the_end, Planted, THREADS, 1) { p.out[own()] = p.in[own() + p.bug]; }
CBP_KERNEL(write_before_the_start, Planted, THREADS, 1) { (p.out + -static_cast<int>(p.bug))[own()] = p.in[own()]; }

CBP_KERNEL(shared_past_the_end, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0) + p.bug;
  tile[threadIdx.x] = p.in[own()];
  p.out[own()] = tile[threadIdx.x];
}

CBP_KERNEL(misaligned_vector, Planted, THREADS, 1) {
  if (threadIdx.x < 32) {
    const uint32_t first = blockIdx.x * THREADS + threadIdx.x * 4;
    // One thread reads across its neighbour's bytes: in bounds, and still an error.
    const auto v = load_vec<float4>(p.in, p.bug && threadIdx.x == 1 ? first + 1 : first);
    store_vec(p.out, first, v);
  }
}

CBP_KERNEL(misaligned_shared_vector, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  if (threadIdx.x < 32) {
    const uint32_t first = blockIdx.x * THREADS + threadIdx.x * 4;
    store_vec(tile, threadIdx.x * 4 + (p.bug && threadIdx.x == 1 ? 2 : 0), load_vec<float4>(p.in, first));
    store_vec(p.out, first, load_vec<float4>(tile, threadIdx.x * 4));
  }
}

// Nothing writes these bytes before they are read: a NaN, and on request a report.
CBP_KERNEL(uninitialised_shared, Planted, THREADS, 1) {
  const auto tile = shared_at<float>(0);
  if (!p.bug || threadIdx.x != 5) tile[threadIdx.x] = p.in[own()];
  block_sync();
  p.out[own()] = tile[threadIdx.x];
}

// The second half of `out` has not been written by anyone.
CBP_KERNEL(uninitialised_global, Planted, THREADS, 1) {
  if (!p.bug) p.out[own()] = p.in[own()];
  p.out[own()] = p.out[own()] + 0.0f;
}
