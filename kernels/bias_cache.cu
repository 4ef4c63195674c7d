// The outputs of the frozen bias model, kept: nothing changes them, and convolutions are 'valid', so what a position
// of the genome gets does not depend on the window around it. One forward pass over a long window holds the outputs of
// every window of the usual length in it.
// bias_dense: products[b,t] = sum_c x[b,t,c] dense[c], of the last feature map x of a batch of long windows
// bias_keep:  of the windows that begin at first <= j < first + starts of long window b, the first at i = 0:
//   kept[logits + i]    = logits[b, first + i]                                             i < starts + outputlen - 1
//   kept[logcounts + i] = dense_bias + 1/W sum_{t < W} products[b, first + i + t]          i < starts
//   W is the length of a usual window's last feature map
// bias_fetch: a plan row's logits and logcount, from where they are kept to where the loss reads them
//
// in   x T [B, L, C]   dense f32 [C]   logits f32 [B, positions]   rows of the plan of either kind, StepState
// out  products f32 [B, L]   sums f64 [B, L + 1] (scratch)   kept f32   logits f32 [B, outputlen]   logcounts f32 [B]
//      Rows from `examples` on are left as they are: nobody reads them.
// T = f16, bf16, f32.   source: ours   reference: the forward pass of a step (head*.cu)
//
//   dense        256 threads, a warp a row, four channels a lane at a time; a tree over lanes
//   keep         256 threads, the only block of its long window. Sums over positions are differences of sums from the
//                window's beginning, in f64: a thread sums a run of positions, then adds what all before it have
//   fetch        256 threads, one example
//   floor        dense reads x once: 51 MB at B = 64, C = 128, f16, 12 us at 4.3 TB/s; like keep it runs once a run, or
//                for a few rows once an epoch. fetch moves 0.5 MB a step: launch latency
//   memory       4 bytes a logit and a logcount: see engine/cuda/bias_cache.rs
//   predicted    2 to 3 us for fetch, where the forward pass of 64 x 2114 bp at 128 x 4 takes 120 to 200
//   measured     unmeasured
//   registers    dense 22 (81 on sm_120), keep 40, fetch 17 (28 on sm_120)
//   tolerance    logits are copies; logcounts 1e-6 and 1e-7 of them: products of C terms in f32, a rounding at the end.
//                A product that is not finite spoils the windows behind it too, where a step would see it only in
//                windows that hold it

#include "small.cuh"
#include "step.cuh"

constexpr uint32_t THREADS = 256;
constexpr uint32_t WARPS = THREADS / FULL_WARP;

// Where the outputs of a long window's windows go. Mirrored in ops/bias_cache.rs, as `Place`.
struct Keep {
  uint64_t logits;     // element of `kept`
  uint64_t logcounts;  // likewise
  uint32_t first;      // start of the first window that is wanted
  uint32_t starts;     // how many are
};
static_assert(sizeof(Keep) == 24, "mirrored in ops/bias_cache.rs");

// Where a plan row's outputs lie.
struct Place {
  uint64_t logits;
  uint64_t logcount;
};
static_assert(sizeof(Place) == 16, "mirrored in ops/bias_cache.rs");

struct BiasDense {
  Global<uint8_t> x;  // of the element type
  Global<float> dense;
  Global<float> products;
  uint32_t rows;  // B * L
  uint32_t channels;
};

template <class T>
CBP_DEVICE void bias_dense(const BiasDense& p) {
  const uint32_t row = blockIdx.x * WARPS + warp();
  if (row >= p.rows) return;  // the whole warp
  float sum = 0.0f;
  for (uint32_t c = 4 * lane(); c < p.channels; c += 4 * FULL_WARP) {
    const Global<T> x = p.x.template as<T>();
    const float4 v = FourOf<T>::unpack(load_vec<typename FourOf<T>::Raw>(x, (size_t)row * p.channels + c));
    const float4 w = load_vec<float4>(p.dense, c);
    sum += v.x * w.x + v.y * w.y + v.z * w.z + v.w * w.w;
  }
  for (uint32_t d = FULL_WARP / 2; d > 0; d /= 2) sum += shfl_down(sum, d);
  if (lane() == 0) p.products[row] = sum;
}

CBP_KERNEL(bias_dense_f16, BiasDense, THREADS, 1) { bias_dense<half_t>(p); }
CBP_KERNEL(bias_dense_bf16, BiasDense, THREADS, 1) { bias_dense<bf16_t>(p); }
CBP_KERNEL(bias_dense_f32, BiasDense, THREADS, 1) { bias_dense<float>(p); }

struct BiasKeep {
  Global<StepState> state;
  Global<Keep> plan;
  Global<float> logits;
  Global<float> products;
  Global<float> dense_bias;  // [1]
  Global<double> sums;       // sums[b][t]: of the products before t
  Global<float> kept;
  uint32_t positions;  // logits of a long window
  uint32_t outputlen;
  uint32_t length;  // L
  uint32_t window;  // W
};

CBP_KERNEL(bias_keep, BiasKeep, THREADS, 1) {
  const Shared<double> runs = shared_at<double>(0);  // [THREADS]
  const uint32_t b = blockIdx.x;
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  const uint32_t cursor = member(p.state, &StepState::cursor)[0];
  if (b >= examples) return;
  const Keep to = p.plan[cursor + b];
  const Global<float> logits = p.logits + (size_t)b * p.positions;
  for (uint32_t i = threadIdx.x; i < to.starts + p.outputlen - 1; i += THREADS) {
    const float logit = logits[to.first + i];
    p.kept[to.logits + i] = logit;
  }

  const Global<float> products = p.products + (size_t)b * p.length;
  const Global<double> sums = p.sums + (size_t)b * (p.length + 1);
  const uint32_t share = (p.length + THREADS - 1) / THREADS;
  const uint32_t from = threadIdx.x * share;
  const uint32_t end = from + share < p.length ? from + share : p.length;
  double run = 0.0;
  for (uint32_t t = from; t < end; t++) {
    const float product = products[t];
    run += product;
  }
  runs[threadIdx.x] = run;
  block_sync();
  double sum = 0.0;
  for (uint32_t i = 0; i < threadIdx.x; i++) {
    const double before = runs[i];
    sum += before;
  }
  if (threadIdx.x == 0) sums[0] = 0.0;
  for (uint32_t t = from; t < end; t++) {
    const float product = products[t];
    sum += product;
    sums[t + 1] = sum;
  }
  block_sync();  // sums before differences
  const float dense_bias = p.dense_bias[0];
  for (uint32_t i = threadIdx.x; i < to.starts; i += THREADS) {
    const uint32_t t = to.first + i;
    const double before = sums[t], through = sums[t + p.window];
    p.kept[to.logcounts + i] = (float)((through - before) / p.window + dense_bias);
  }
}

struct BiasFetch {
  Global<StepState> state;
  Global<Place> plan;
  Global<float> kept;
  Global<float> logits;
  Global<float> logcounts;
  uint32_t outputlen;
  uint32_t padding;
};

CBP_KERNEL(bias_fetch, BiasFetch, THREADS, 1) {
  const uint32_t b = blockIdx.x;
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  const uint32_t cursor = member(p.state, &StepState::cursor)[0];
  if (b >= examples) return;
  const Place at = p.plan[cursor + b];
  for (uint32_t i = threadIdx.x; i < p.outputlen; i += THREADS) {
    const float logit = p.kept[at.logits + i];
    p.logits[(size_t)b * p.outputlen + i] = logit;
  }
  if (threadIdx.x == 0) {
    const float logcount = p.kept[at.logcount];
    p.logcounts[b] = logcount;
  }
}
