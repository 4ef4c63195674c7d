// loss: both losses of each example and their gradients, branches combined on the way.
//   l = main logits + bias logits                 z = ln(e^main + e^bias) of the two logcounts
//   profile = sum_i ln c_i! - ln n! - sum_i c_i log_softmax(l)_i,   n = sum_i c_i
//   counts  = (z - ln(1 + n))^2
//   dlogits    = s (n softmax(l) - c)             s = loss_scale / examples
//   dlogcounts = s weight 2 (z - ln(1 + n)) e^(main - z)      by the main branch's logcounts
// loss_mean: losses[row] = means over the batch, total = profile + weight * counts
// loss_combine: l and z alone, for predictions
//
// in   logits f32 [B, outputlen], logcounts f32 [B] of main and (or null) bias   counts f32 [B, outputlen]
// out  dlogits f32 [B, outputlen], dlogcounts f32 [B], dlogits_sums f32 [B] (the profile bias's gradient, one
//      partial an example); all three null in an evaluation. example_losses f64 [B][2]; losses f64 [steps][3]
//      The main logits and logcounts are replaced by l and z.
//      Rows from `examples` on: gradients 0, losses not read.
// An example whose loss is not finite lowers StepState::bad_example to its plan row.
// reference: engine/cpu/loss.rs, all in f64 here as there; source: official `multinomial_nll` (tfp
// Multinomial.log_prob, combinatorial term included), Keras MSE on logcounts, logsumexp of log counts.
//
//   block        256 threads, one example; sums go thread, warp, block in a fixed order
//   floor        64 examples read 0.8 MB: launch latency and 128,000 exponentials in f64
//   measured     unmeasured
//   registers    58 on sm_80, 60 on sm_90
//   tolerance    losses 1e-12 relative on the same f32 logits (another order of f64 sums); gradients one
//                f32 rounding

#include "over_block.cuh"
#include "step.cuh"

struct LossArgs {
  Global<StepState> state;
  Global<float> logits;
  Global<float> logcounts;
  Global<float> bias_logits;     // null without a bias branch
  Global<float> bias_logcounts;
  Global<float> counts;
  Global<float> dlogits;         // null: losses only
  Global<float> dlogits_sums;
  Global<float> dlogcounts;
  Global<double> example_losses;
  double counts_loss_weight;
  uint32_t outputlen;
  uint32_t padding;
};

// ln(e^a + e^b)
CBP_DEVICE double log_add_exp(double a, double b) {
  const double max = a > b || a != a ? a : b;
  return max + log(exp(a - max) + exp(b - max));
}

CBP_DEVICE bool is_finite(double v) { return fabs(v) <= 1.7976931348623157e308; }

// Logits and logcounts of both branches together, left where the main branch's were.
template <class Args>
CBP_DEVICE double combine(const Args& p, uint32_t b) {
  if (p.bias_logits) {
    for (uint32_t i = threadIdx.x; i < p.outputlen; i += SUM_THREADS) {
      const size_t at = (size_t)b * p.outputlen + i;
      const float main = p.logits[at], bias = p.bias_logits[at];
      p.logits[at] = main + bias;
    }
  }
  const float main = p.logcounts[b];
  if (!p.bias_logits) return main;
  const float bias = p.bias_logcounts[b];
  return log_add_exp(main, bias);
}

CBP_KERNEL(loss, LossArgs, SUM_THREADS, 2) {
  const uint32_t b = blockIdx.x;
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  const Global<float> logits = p.logits + (size_t)b * p.outputlen;
  const Global<float> counts = p.counts + (size_t)b * p.outputlen;
  if (b >= examples) {
    if (p.dlogits) {
      for (uint32_t i = threadIdx.x; i < p.outputlen; i += SUM_THREADS) p.dlogits[(size_t)b * p.outputlen + i] = 0.0f;
      if (threadIdx.x == 0) {
        p.dlogcounts[b] = 0.0f;
        p.dlogits_sums[b] = 0.0f;
      }
    }
    if (threadIdx.x == 0) {
      p.example_losses[2 * b] = 0.0;
      p.example_losses[2 * b + 1] = 0.0;
    }
    return;
  }
  const Shared<double> scratch = shared_at<double>(0);  // [5][SUM_WARPS]

  const double main = p.logcounts[b];
  const double z = combine(p, b);
  // Each thread reads again only what it has written itself, so no barrier is needed here.
  double max = -INFINITY, n = 0.0;
  for (uint32_t i = threadIdx.x; i < p.outputlen; i += SUM_THREADS) {
    const float logit = logits[i], count = counts[i];
    max = Max::of(max, logit);
    n += count;
  }
  max = over_block<Max>(max, scratch);
  n = over_block<Sum>(n, scratch + SUM_WARPS);
  double sum_exp = 0.0;
  for (uint32_t i = threadIdx.x; i < p.outputlen; i += SUM_THREADS) {
    const float logit = logits[i];
    sum_exp += exp(logit - max);
  }
  const double log_sum_exp = max + log(over_block<Sum>(sum_exp, scratch + 2 * SUM_WARPS));

  const float loss_scale = member(p.state, &StepState::loss_scale)[0];
  const double scale = (double)loss_scale / examples;
  double nll = 0.0, by_bias = 0.0;
  for (uint32_t i = threadIdx.x; i < p.outputlen; i += SUM_THREADS) {
    const float logit = logits[i], count = counts[i];
    // A count of zero adds nothing even where the logit is infinite, as tfp has it.
    if (count != 0.0f) nll += lgamma(count + 1.0) - count * (logit - log_sum_exp);
    if (p.dlogits) {
      const float d = (float)(scale * (n * exp(logit - log_sum_exp) - count));
      p.dlogits[(size_t)b * p.outputlen + i] = d;
      by_bias += d;
    }
  }
  nll = over_block<Sum>(nll, scratch + 3 * SUM_WARPS);
  by_bias = over_block<Sum>(by_bias, scratch + 4 * SUM_WARPS);
  if (threadIdx.x != 0) return;

  nll -= lgamma(n + 1.0);
  // Without counts the terms vanish, but a broken model must still show.
  if (log_sum_exp != log_sum_exp) nll = log_sum_exp;
  const double difference = z - log1p(n);
  p.logcounts[b] = (float)z;
  p.example_losses[2 * b] = nll;
  p.example_losses[2 * b + 1] = difference * difference;
  if (p.dlogits) {
    p.dlogits_sums[b] = (float)by_bias;
    p.dlogcounts[b] = (float)(scale * p.counts_loss_weight * 2.0 * difference * exp(main - z));
  }
  if (!is_finite(nll + p.counts_loss_weight * difference * difference)) {
    const uint32_t cursor = member(p.state, &StepState::cursor)[0];
    atomic_min(member(p.state, &StepState::bad_example), cursor + b);
  }
}

struct LossMean {
  Global<StepState> state;
  Global<double> example_losses;
  Global<double> losses;  // {total, profile, counts} of each step
  double counts_loss_weight;
};

CBP_KERNEL(loss_mean, LossMean, SUM_THREADS, 1) {
  const Shared<double> scratch = shared_at<double>(0);  // [2][SUM_WARPS]
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  if (examples == 0) return;
  double profile = 0.0, counts = 0.0;
  for (uint32_t b = threadIdx.x; b < examples; b += SUM_THREADS) {
    const double profile_b = p.example_losses[2 * b], counts_b = p.example_losses[2 * b + 1];
    profile += profile_b;
    counts += counts_b;
  }
  profile = over_block<Sum>(profile, scratch) / examples;
  counts = over_block<Sum>(counts, scratch + SUM_WARPS) / examples;
  if (threadIdx.x != 0) return;
  const size_t row = member(p.state, &StepState::row)[0];
  p.losses[3 * row] = profile + p.counts_loss_weight * counts;
  p.losses[3 * row + 1] = profile;
  p.losses[3 * row + 2] = counts;
}

struct LossCombine {
  Global<StepState> state;
  Global<float> logits;
  Global<float> logcounts;
  Global<float> bias_logits;  // null without a bias branch
  Global<float> bias_logcounts;
  uint32_t outputlen;
  uint32_t padding;
};

CBP_KERNEL(loss_combine, LossCombine, SUM_THREADS, 1) {
  const uint32_t b = blockIdx.x;
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  if (b >= examples) return;
  const float z = (float)combine(p, b);
  bool broken = !is_finite(z);
  for (uint32_t i = threadIdx.x; i < p.outputlen; i += SUM_THREADS) {
    const float logit = p.logits[(size_t)b * p.outputlen + i];
    broken |= !is_finite(logit);
  }
  block_sync();  // every thread has read the main branch's logcounts
  if (threadIdx.x == 0) p.logcounts[b] = z;
  if (broken) {
    const uint32_t cursor = member(p.state, &StepState::cursor)[0];
    atomic_min(member(p.state, &StepState::bad_example), cursor + b);
  }
}
