// The first convolution's part in DeepSHAP.
// rescale_first_forward:   first_conv_forward that keeps what the backward pass needs of its ReLU (kernels/rescale.cuh)
// rescale_first_backward:  m[b,t,a] = 1/scale sum_k sum_c dz[b, t-k, c] w[k][a][c], the multiplier of base a at t
// rescale_scores:          sums[h,s,t,a] += m[r,t,a] - m[r,t,codes[r,t]] over the references r of sequence s, in order: what
//                          base a would contribute there, against the reference's base (an N contributes 0)
//
// in   codes u8 [B, inputlen]   w f32 [K][4][C]   bias f32 [C]   dz T [B, L, C]      L = inputlen - K + 1
//      z_x f32 [B / references, L, C]
// out  x T [B, L, C]   z f32 or ratio T [B, L, C]   m f32 [B, inputlen, 4]   sums f32 [heads, sequences, inputlen, 4]
// T = f16, bf16, f32; weights and sums are f32 in each.   reference: engine/cpu
// source: official combine_mult_and_diffref: hypothetical scores of each reference, then their mean.
//
// forward       as first_conv_forward, whose walk it is (first_conv.cuh)
// backward
//   lane         one channel: its 84 weights of 21 taps and the last 28 dz are in registers, and a step of 8
//                positions is 672 FMA. The 32 sums (8 positions x 4 bases) are then added over the 32 lanes in 31
//                exchanges, after which each lane has one of them.
//   block        up to 4 warps, 128 positions of one example; a warp takes every fourth 32 channels, the warps' sums are
//                added in order through shared memory
//   grid         (ceil(inputlen / 128), B)
//   floor        64 pairs, both heads, C = 512: 11.6 G FMA, 405 us on 132 SMs at 1.7 GHz; 275 MB in 16 bit, 64 us at
//                4.3 TB/s. About 7 % of a chunk's dilated layers
//   next         tensor cores: 84 columns of w against rows of dz, then the diagonals' sums
// scores        one thread a position and head, all references in a row: 4.3 MB, launch latency
//   measured     unmeasured
//   registers    forward at most 70, backward 168 (3 blocks an SM), scores 50
//   tolerance    ratio absolute: 1e-7 a tap over |z_x - z|, and its rounding; m 2e-6 relative L2 (sums of 21 x 512 terms,
//                lane by lane); sums 1e-6; see tests/suite/kernels/rescale/first_conv.rs

#include "first_conv.cuh"
#include "rescale.cuh"

// X_0, and z or its ratio to the sequence's z.
template <class T>
struct ReluRescale {
  Global<T> x;
  Rescale<T> rescale;
  FastDiv length;
  uint32_t channels;

  CBP_DEVICE void operator()(bool inside, uint32_t row, uint32_t column, float4 z) const {
    if (!inside) return;
    const size_t at = (size_t)row * channels + column;
    if (rescale.kept) store4<float>(rescale.kept, at, z);
    if (rescale.ratio) {
      float4 other = z;
      if (rescale.x) {
        other = load_vec<float4>(rescale.x, (size_t)rescale.row_of_x(row, length) * channels + column);
      }
      store4<T>(rescale.ratio, at,
                make_float4(rescale_ratio(other.x, z.x), rescale_ratio(other.y, z.y),
                            rescale_ratio(other.z, z.z), rescale_ratio(other.w, z.w)));
    }
    store4<T>(x, at, make_float4(relu(z.x), relu(z.y), relu(z.z), relu(z.w)));
  }
};

template <class T>
struct RescaleFirstForward {
  FirstConvForward conv;  // without a mask
  Rescale<T> rescale;
};

template <class T>
CBP_DEVICE void rescale_first_forward(const RescaleFirstForward<T>& p) {
  first_conv_rows(p.conv, ReluRescale<T>{p.conv.x.template as<T>(), p.rescale, p.conv.length, p.conv.channels});
}

CBP_KERNEL(rescale_first_forward_f16, RescaleFirstForward<half_t>, FORWARD_THREADS, 3) { rescale_first_forward(p); }
CBP_KERNEL(rescale_first_forward_bf16, RescaleFirstForward<bf16_t>, FORWARD_THREADS, 3) { rescale_first_forward(p); }
CBP_KERNEL(rescale_first_forward_f32, RescaleFirstForward<float>, FORWARD_THREADS, 3) { rescale_first_forward(p); }

// --------------------------------------------------------------------------------------- backward

constexpr uint32_t BASES = 4;
constexpr uint32_t MOST_WARPS = 4;
constexpr uint32_t TAPS = 21;        // of a round, weights in registers
constexpr uint32_t STEP = 8;         // positions between two moves of the window
constexpr uint32_t POSITIONS = 128;  // of a block
static_assert(STEP * BASES == FULL_WARP, "one sum a lane");
static_assert(POSITIONS % STEP == 0, "whole steps");

struct RescaleFirstBackward {
  Global<uint8_t> dz;         // of the element type
  Global<float> w;
  Global<float> multipliers;  // [B, inputlen, 4]
  uint32_t length;            // L
  uint32_t inputlen;
  uint32_t channels;
  uint32_t width;
  uint32_t counts;      // examples of the counts head, the first of the batch
  float counts_unscale;  // 1 / scale of either head
  float profile_unscale;
  uint32_t padding;
};

// The sum over all lanes of v[l], for lane l; HALF is half the lanes. A round exchanges the half of v that a lane will
// not need.
template <uint32_t HALF>
CBP_DEVICE float sum_across(const float (&v)[2 * HALF]) {
  const bool upper = lane() & HALF;
  float sums[HALF];
#pragma unroll
  for (uint32_t i = 0; i < HALF; i++) {
    const float low = v[i], high = v[i + HALF];
    sums[i] = (upper ? high : low) + shfl_xor(upper ? low : high, HALF);
  }
  if constexpr (HALF == 1) {
    return sums[0];
  } else {
    return sum_across<HALF / 2>(sums);
  }
}

template <class T>
CBP_DEVICE void rescale_first_backward(const RescaleFirstBackward& p) {
  const uint32_t first = blockIdx.x * POSITIONS, b = blockIdx.y;
  const uint32_t warps = blockDim.x / FULL_WARP;
  const uint32_t end = first + POSITIONS < p.inputlen ? first + POSITIONS : p.inputlen;
  const Global<T> dz = p.dz.template as<T>() + (size_t)b * p.length * p.channels;
  // sums[warp][position][base]
  const Shared<float> sums = shared_at<float>(warp() * POSITIONS * BASES * 4);
  for (uint32_t i = lane(); i < POSITIONS * BASES; i += FULL_WARP) sums[i] = 0.0f;

  for (uint32_t c = warp() * FULL_WARP + lane(); c < p.channels; c += blockDim.x) {
    for (uint32_t tap0 = 0; tap0 < p.width; tap0 += TAPS) {
      float w[TAPS][BASES];
#pragma unroll
      for (uint32_t k = 0; k < TAPS; k++) {
#pragma unroll
        for (uint32_t a = 0; a < BASES; a++) {
          w[k][a] = 0.0f;
          if (tap0 + k < p.width) w[k][a] = p.w[(size_t)((tap0 + k) * BASES + a) * p.channels + c];
        }
      }
      // dz[b, t, c], 0 outside
      auto at = [&](int32_t t) -> float {
        if (t < 0 || t >= (int32_t)p.length) return 0.0f;
        const T v = dz[(size_t)t * p.channels + c];
        return to_float(v);
      };
      // window[STEP - 1 - j + k] = dz[position + j - tap0 - k] in round j: newest first
      float window[TAPS + STEP - 1];
#pragma unroll
      for (uint32_t k = 0; k + 1 < TAPS; k++) window[k] = at((int32_t)(first - 1 - tap0 - k));
      for (uint32_t position = first; position < end; position += STEP) {
#pragma unroll
        for (uint32_t k = TAPS - 1; k-- > 0;) window[k + STEP] = window[k];
#pragma unroll
        for (uint32_t j = 0; j < STEP; j++) window[STEP - 1 - j] = at((int32_t)(position + j - tap0));
        float v[FULL_WARP];
#pragma unroll
        for (uint32_t j = 0; j < STEP; j++) {
#pragma unroll
          for (uint32_t a = 0; a < BASES; a++) {
            float sum = 0.0f;
#pragma unroll
            for (uint32_t k = 0; k < TAPS; k++) sum += window[STEP - 1 - j + k] * w[k][a];
            v[j * BASES + a] = sum;
          }
        }
        const uint32_t place = (position - first) * BASES + lane();
        const float before = sums[place], sum = sum_across<FULL_WARP / 2>(v);
        sums[place] = before + sum;
      }
    }
  }

  block_sync();
  const float unscale = b < p.counts ? p.counts_unscale : p.profile_unscale;
  for (uint32_t i = threadIdx.x; i < (end - first) * BASES; i += blockDim.x) {
    float sum = 0.0f;
    for (uint32_t w = 0; w < warps; w++) {
      const float part = shared_at<float>(w * POSITIONS * BASES * 4)[i];
      sum += part;
    }
    p.multipliers[((size_t)b * p.inputlen + first) * BASES + i] = unscale * sum;
  }
}

CBP_KERNEL(rescale_first_backward_f16, RescaleFirstBackward, MOST_WARPS * FULL_WARP, 3) {
  rescale_first_backward<half_t>(p);
}
CBP_KERNEL(rescale_first_backward_bf16, RescaleFirstBackward, MOST_WARPS * FULL_WARP, 3) {
  rescale_first_backward<bf16_t>(p);
}
CBP_KERNEL(rescale_first_backward_f32, RescaleFirstBackward, MOST_WARPS * FULL_WARP, 3) {
  rescale_first_backward<float>(p);
}

// ----------------------------------------------------------------------------------------- scores

struct RescaleScores {
  Global<float> multipliers;  // [heads][pairs][inputlen][4]
  Global<uint8_t> codes;      // of the references, [pairs][inputlen]; null: nothing to compare with
  Global<float> sums;         // [heads][sequences][inputlen][4]
  uint32_t inputlen;
  uint32_t references;  // of a sequence, in this chunk
  uint32_t pairs;       // sequences * references
  uint32_t begin;       // 1: the sums begin with this chunk
};

CBP_KERNEL(rescale_scores, RescaleScores, 128, 4) {
  const uint32_t t = blockIdx.x * blockDim.x + threadIdx.x, s = blockIdx.y, head = blockIdx.z;
  if (t >= p.inputlen) return;
  const size_t to = (((size_t)head * gridDim.y + s) * p.inputlen + t) * BASES;
  float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  if (!p.begin) sum = load_vec<float4>(p.sums, to);
  for (uint32_t r = s * p.references; r < (s + 1) * p.references; r++) {
    const float4 m = load_vec<float4>(p.multipliers, (((size_t)head * p.pairs + r) * p.inputlen + t) * BASES);
    float base = 0.0f;
    if (p.codes) {
      const uint8_t code = p.codes[(size_t)r * p.inputlen + t];
      base = code == 0 ? m.x : code == 1 ? m.y : code == 2 ? m.z : code == 3 ? m.w : 0.0f;
    }
    sum.x += m.x - base;
    sum.y += m.y - base;
    sum.z += m.z - base;
    sum.w += m.w - base;
  }
  store_vec(p.sums, to, sum);
}
