// counts_head: the update of a centered counts head: y = w (f - F) + b', F the mean of the pooled features f over the
// batch, in place of y = w f + b.
//   w   as adam.cu has it, by dw - F db
//   b  -= bias_rate db + sum_c (w_new - w_old)_c F_c
// Nothing is touched when a gradient overflowed, a loss is not finite, or the run has stopped.
//
// in   dense, features: of the head's partials, f32 [splits] rows of [C], stride apart   dlogcounts f32 [B]
//      StepState: rate, loss_scale, examples, overflow, bad_example, stopped
// in/out  w, m, v f32 [C], bias f32 [1]
// source: ours, see train/counts_head.rs   reference: engine/cpu/counts_head.rs
//
//   block        256 threads, the only one; a thread has every 256th channel. Sums over channels are f64 and go
//                thread, warp, block in a fixed order
//   floor        launch latency: at 512 channels and 64 splits it reads 0.3 MB
//   measured     unmeasured
//   registers    64 (56 on sm_80)
//   tolerance    w, m, v and the bias 1e-5 and 1e-5 of them: partials of both signs cancel in f32

#include "adam.cuh"
#include "over_block.cuh"

struct CountsHeadArgs {
  Global<StepState> state;
  Global<float> w;
  Global<float> m;
  Global<float> v;
  Global<float> bias;
  Global<float> dense;       // sum_b dlogcounts_b f_b
  Global<float> features;    // sum_b f_b
  Global<float> dlogcounts;  // times the loss scale, as dense is
  double bias_rate;
  uint32_t channels;
  uint32_t splits;
  uint32_t stride;
  uint32_t batch;
};

CBP_KERNEL(counts_head, CountsHeadArgs, SUM_THREADS, 1) {
  const Shared<double> scratch = shared_at<double>(0);  // [2][SUM_WARPS]
  if (!updates(p.state)) return;
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  const float rate = member(p.state, &StepState::rate)[0];
  const float loss_scale = member(p.state, &StepState::loss_scale)[0];
  const float unscale = 1.0f / loss_scale;  // exact: a power of two

  double sum = 0.0;
  for (uint32_t b = threadIdx.x; b < p.batch; b += SUM_THREADS) {
    const float part = p.dlogcounts[b];
    sum += part;
  }
  const float by_bias = (float)over_block<Sum>(sum, scratch) * unscale;

  double moved = 0.0;
  for (uint32_t c = threadIdx.x; c < p.channels; c += SUM_THREADS) {
    float dense = 0.0f, features = 0.0f;
    for (uint32_t s = 0; s < p.splits; s++) {
      const size_t at = (size_t)s * p.stride + c;
      const float dense_part = p.dense[at], features_part = p.features[at];
      dense += dense_part;
      features += features_part;
    }
    const float mean = features / (float)examples;
    const float before = p.w[c];
    const float after = before - adam_step(p.m, p.v, c, dense * unscale - mean * by_bias, rate);
    p.w[c] = after;
    moved += (double)(after - before) * mean;
  }
  moved = over_block<Sum>(moved, scratch + SUM_WARPS);
  if (threadIdx.x != 0) return;
  const float bias = p.bias[0];
  p.bias[0] = (float)(bias - p.bias_rate * by_bias - moved);
}
