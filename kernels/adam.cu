// adam: one update of every tensor, as Keras defines it: epsilon is added to the root of the
// uncorrected second moment.
//   g  = sum_s partials[s][i] / loss_scale,  in a fixed order
//   m += (g - m) (1 - b1);  v += (g^2 - v) (1 - b2);  w -= rate m / (sqrt(v) + 1e-7)
//   copy = w in the element type
// Nothing is touched when a gradient overflowed, a loss is not finite, or the run has stopped.
//
// in   tensors: a table in device memory; StepState: rate, loss_scale, overflow, bad_example, stopped
// in/out  w, m, v f32 [size]   out  copy T [size], where one is wanted   T = f16, bf16
// reference: engine/cpu/adam.rs; the CPU's products and sums in f32, here with fused multiply-adds
//
//   block        256 threads; a block finds its tensor by bisection. With few partials it has 1024
//                elements, 4 a thread, and adds the partials in order. With many (a bias gradient has one a
//                row tile: 2000 and more) it has 32 elements: warp w adds partials w, w + 8, ..., then the
//                warps' sums are added in order, so that no thread waits for 2000 loads in a row.
//   floor        6.4 M parameters: 24 B each, a gradient of 4 B, whose parts partial_sums.cu has added up, and a copy:
//                200 MB, 47 us at 4.3 TB/s
//   measured     unmeasured
//   registers    60
//   tolerance    w 1e-6 and 1e-6 of it: a handful of f32 roundings of a move of at most a few rates; m and v 1e-4 and
//                1e-5 of them, because partials of both signs cancel in f32; the copy exactly w, rounded

#include "adam.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / 32;
constexpr uint32_t PER_THREAD = 4;
constexpr uint32_t FEW_SPLITS = 16;  // mirrored in ops/adam.rs

// Mirrored in ops/adam.rs.
struct AdamTensor {
  Global<float> w;
  Global<float> m;
  Global<float> v;
  Global<float> partials;
  Global<uint8_t> copy;  // of the element type; null: the tensor is used in f32
  uint32_t size;
  uint32_t splits;       // partials to add up
  uint32_t stride;       // elements from one split's partial to the next
  uint32_t first_block;  // blocks of the tensors before
};

struct AdamArgs {
  Global<StepState> state;
  Global<AdamTensor> tensors;
  uint32_t count;  // of tensors
  uint32_t padding;
};

template <class T>
CBP_DEVICE void update(const AdamTensor& t, uint32_t i, float gradient, float rate) {
  float w = t.w[i];
  w -= adam_step(t.m, t.v, i, gradient, rate);
  t.w[i] = w;
  if (t.copy) t.copy.template as<T>()[i] = from_float<T>(w);
}

template <class T>
CBP_DEVICE void adam(const AdamArgs& p) {
  if (!updates(p.state)) return;
  const float rate = member(p.state, &StepState::rate)[0];
  const float loss_scale = member(p.state, &StepState::loss_scale)[0];
  const float unscale = 1.0f / loss_scale;  // exact: a power of two

  // Last tensor that begins at or before this block.
  uint32_t low = 0, high = p.count;
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    const uint32_t first = member(p.tensors + middle, &AdamTensor::first_block)[0];
    if (first <= blockIdx.x) low = middle;
    else high = middle;
  }
  const AdamTensor t = p.tensors[low];
  const uint32_t block = blockIdx.x - t.first_block;

  if (t.splits > FEW_SPLITS) {
    const Shared<float> sums = shared_at<float>(0);  // [WARPS][32]
    const uint32_t i = block * 32 + lane();
    float sum = 0.0f;
    if (i < t.size) {
#pragma unroll 8
      for (uint32_t s = warp(); s < t.splits; s += WARPS) {
        const float part = t.partials[(size_t)s * t.stride + i];
        sum += part;
      }
    }
    sums[threadIdx.x] = sum;
    block_sync();
    if (warp() != 0 || i >= t.size) return;
    for (uint32_t w = 1; w < WARPS; w++) {
      const float part = sums[w * 32 + lane()];
      sum += part;
    }
    update<T>(t, i, sum * unscale, rate);
    return;
  }

  const uint32_t begin = block * THREADS * PER_THREAD + threadIdx.x;
  float sums[PER_THREAD] = {};
  for (uint32_t s = 0; s < t.splits; s++) {
#pragma unroll
    for (uint32_t j = 0; j < PER_THREAD; j++) {
      const uint32_t i = begin + j * THREADS;
      if (i < t.size) {
        const float part = t.partials[(size_t)s * t.stride + i];
        sums[j] += part;
      }
    }
  }
#pragma unroll
  for (uint32_t j = 0; j < PER_THREAD; j++) {
    const uint32_t i = begin + j * THREADS;
    if (i < t.size) update<T>(t, i, sums[j] * unscale, rate);
  }
}

CBP_KERNEL(adam_f16, AdamArgs, THREADS, 4) { adam<half_t>(p); }
CBP_KERNEL(adam_bf16, AdamArgs, THREADS, 4) { adam<bf16_t>(p); }
CBP_KERNEL(adam_f32, AdamArgs, THREADS, 4) { adam<float>(p); }
