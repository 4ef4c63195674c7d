// Where multipliers begin, one pair of a sequence x and one of its references r at a time.
// rescale_seed: the multipliers of the logits, from softmaxes p of the logits l,
//   weight[i] = (p_x[i] + p_r[i]) / 2, and 0 where the logits, less their means, are closer than 1e-7
//   seed = scale (weight - its mean)      delta = sum_i weight[i] (l_x[i] - l_r[i]), logits less their means
// rescale_head: those of the last feature map, and behind its ReLU,
//   counts   g[b,t,c] = scale / L dense[c]
//   profile  g[b,t,c] = sum_k seed[b, t - crop - k] w[k][c]
//   dz = g * ratio
//
// in   logits f32 [sequences, outputlen] and [pairs, outputlen]   w f32 [K][C]   dense f32 [C]
//      ratio T [pairs, L, C]
// out  seeds f32 [pairs, outputlen]   deltas f64 [pairs] or none   g, dz T [B, L, C]: rows of the counts head, then of
//      the profile head      overflow: raised when a value of g is not finite or too large for T
// T = f16, bf16, f32; softmaxes in f64, every product and sum of the heads in f32.   reference: engine/cpu
// source: kundajelab-shap, TFDeepExplainer (nonlinearity_2d), on the official target sum(stop_gradient(softmax(l)) l):
// the explainer takes the product for one of two varying factors and gives l the mean of both softmaxes for its
// multiplier (goldens README, section 5).
//
// `scale` is a power of two, so it costs no bits; rescale_first_backward takes it back. It brings the first
// multipliers near 0.1, far from fp16's smallest (6e-5) and largest (6.6e4).
//
//   seed         one block of 256 threads a pair
//   head         tile and product of head_input_gradient for f32 (head_gradient.cuh); the counts head's rows skip
//                the product
//   floor        64 pairs, both heads, C = 512, L = 1074: 352 MB in 16 bit, 82 us at 4.3 TB/s; 2.6 G FMA, 90 us on
//                132 SMs at 1.7 GHz
//   measured     unmeasured
//   registers    seed at most 56, head 127 (4 blocks an SM)
//   tolerance    deltas 1e-12 relative L2 (f64); seeds 1e-9 and 1e-7 of each: one f32 rounding; g 1e-6 a tap and one
//                rounding to T; dz 2e-6 relative L2 or one rounding to T; see tests/suite/kernels/rescale/head.rs
//   next         the product of head_tensor_gradient.cu for 16 bits. One launch of some twenty of a chunk is not worth
//                a second form of its end yet

#include "head_gradient.cuh"
#include "over_block.cuh"

struct RescaleSeed {
  Global<float> logits_x;  // [sequences][outputlen]
  Global<float> logits_r;  // [pairs][outputlen]; null: there are no references, the gradient is wanted
  Global<float> seeds;     // [pairs][outputlen]
  Global<double> deltas;   // [pairs]; null: not wanted
  FastDiv per_sequence;    // pairs of a sequence
  uint32_t outputlen;
  float scale;
  uint32_t padding;
};

// Of the logits of one example.
struct Softmax {
  Global<float> logits;
  double log_sum_exp, mean;

  // `scratch` has 3 * SUM_WARPS doubles of its own.
  CBP_DEVICE Softmax(Global<float> logits, uint32_t n, Shared<double> scratch) : logits(logits) {
    double max = -INFINITY, total = 0.0;
    for (uint32_t i = threadIdx.x; i < n; i += SUM_THREADS) {
      const float logit = logits[i];
      max = Max::of(max, logit);
      total += logit;
    }
    max = over_block<Max>(max, scratch);
    mean = over_block<Sum>(total, scratch + SUM_WARPS) / n;
    double sum = 0.0;
    for (uint32_t i = threadIdx.x; i < n; i += SUM_THREADS) {
      const float logit = logits[i];
      sum += exp(logit - max);
    }
    log_sum_exp = max + log(over_block<Sum>(sum, scratch + 2 * SUM_WARPS));
  }
  CBP_DEVICE double logit(uint32_t i) const {
    const float l = logits[i];
    return l;
  }
  CBP_DEVICE double p(uint32_t i) const { return exp(logit(i) - log_sum_exp); }
};

CBP_KERNEL(rescale_seed, RescaleSeed, SUM_THREADS, 2) {
  const uint32_t pair = blockIdx.x, n = p.outputlen;
  const Shared<double> scratch = shared_at<double>(0);  // [8][SUM_WARPS]
  const bool compares = bool(p.logits_r);
  const Global<float> logits_x = p.logits_x + (size_t)p.per_sequence.div(pair) * n;
  const Softmax x(logits_x, n, scratch);
  const Softmax r(compares ? p.logits_r + (size_t)pair * n : logits_x, n, scratch + 3 * SUM_WARPS);
  auto change = [&](uint32_t i) { return (x.logit(i) - x.mean) - (r.logit(i) - r.mean); };
  auto weight = [&](uint32_t i) {
    return compares && fabs(change(i)) < 1e-7 ? 0.0 : 0.5 * (x.p(i) + r.p(i));
  };
  double weights = 0.0, delta = 0.0;
  for (uint32_t i = threadIdx.x; i < n; i += SUM_THREADS) {
    const double w = weight(i);
    weights += w;
    delta += w * change(i);
  }
  weights = over_block<Sum>(weights, scratch + 6 * SUM_WARPS);
  for (uint32_t i = threadIdx.x; i < n; i += SUM_THREADS) {
    p.seeds[(size_t)pair * n + i] = (float)(p.scale * (weight(i) - weights / n));
  }
  delta = over_block<Sum>(delta, scratch + 7 * SUM_WARPS);
  if (p.deltas && threadIdx.x == 0) p.deltas[pair] = delta;
}

struct RescaleHead {
  Global<float> seeds;  // [pairs][outputlen], of the profile's rows; null: there are none
  Global<float> w;
  Global<float> dense;
  Global<uint8_t> ratio;  // of the element type, [ratio_batch, L, C]
  Global<uint8_t> g;      // of the element type; null: not wanted
  Global<uint8_t> dz;     // of the element type
  Global<uint32_t> overflow;
  uint32_t length;
  uint32_t channels;
  uint32_t width;
  uint32_t crop;
  uint32_t outputlen;
  uint32_t counts;       // examples of the counts head, the first of the batch
  uint32_t ratio_batch;  // pairs
  float counts_scale;
};

template <class T>
CBP_DEVICE void rescale_head(const RescaleHead& p) {
  const uint32_t c0 = blockIdx.x * CHANNELS, tile = blockIdx.y, b = blockIdx.z;
  const uint32_t first = tile * ROWS;
  const uint32_t here = p.channels - c0 < CHANNELS ? p.channels - c0 : CHANNELS;  // 32 or 64
  const uint32_t row0 = threadIdx.x / 8 * 8, channel = threadIdx.x % 8 * 4;
  const uint32_t runs = here / (CHANNELS / 2);  // of 4 channels that are there

  float sums[8][8] = {};
  if (b < p.counts) {
    const float scale = p.counts_scale / (float)p.length;
#pragma unroll
    for (uint32_t j = 0; j < 8; j++) {
      if (j / 4 >= runs) break;
      const float dense = p.dense[c0 + of_two_runs(channel, j, CHANNELS)];
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) sums[i][j] = scale * dense;
    }
  } else {
    add_profile(sums, p, p.seeds + (size_t)(b - p.counts) * p.outputlen, first, c0, here);
  }

  const uint32_t ratio_b = b < p.ratio_batch ? b : b - p.ratio_batch;
  bool overflow = false;
#pragma unroll
  for (uint32_t run = 0; run < 2; run++) {
    if (run >= runs) break;
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
      const uint32_t t = first + row0 + i;
      if (t >= p.length) break;
      const uint32_t c = c0 + of_two_runs(channel, 4 * run, CHANNELS);
      const size_t place = ((size_t)b * p.length + t) * p.channels + c;
      const size_t from = ((size_t)ratio_b * p.length + t) * p.channels + c;
      const float4 ratio =
          FourOf<T>::unpack(load_vec<typename FourOf<T>::Raw>(p.ratio.template as<T>(), from));
      const float* g = &sums[i][4 * run];
#pragma unroll
      for (uint32_t j = 0; j < 4; j++) overflow |= !fits<T>(g[j]);
      if (p.g) store4<T>(p.g.template as<T>(), place, make_float4(g[0], g[1], g[2], g[3]));
      store4<T>(p.dz.template as<T>(), place,
                make_float4(g[0] * ratio.x, g[1] * ratio.y, g[2] * ratio.z, g[3] * ratio.w));
    }
  }
  if (overflow) atomic_or(p.overflow, 1);
}

CBP_KERNEL(rescale_head_f16, RescaleHead, THREADS, 4) { rescale_head<half_t>(p); }
CBP_KERNEL(rescale_head_bf16, RescaleHead, THREADS, 4) { rescale_head<bf16_t>(p); }
CBP_KERNEL(rescale_head_f32, RescaleHead, THREADS, 4) { rescale_head<float>(p); }
