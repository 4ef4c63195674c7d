// first_conv_forward:  x[b,t,c] = relu(bias[c] + sum_k w[k][codes[b,t+k]][c]),  code 4 (N) adds nothing
// first_conv_gradient: dw[k][a][c] = sum_{b,t} dz[b,t,c] [codes[b,t+k] == a];  dbias[c] = sum_{b,t} dz[b,t,c]
//
// The input is one-hot, so no product is formed.
//
// in   codes u8 [B, inputlen]   w f32 [K][4][C]   bias f32 [C]   dz T [B, L, C]      L = inputlen - K + 1
// out  x T [B, L, C]   mask u32 [B*L][C/32], bit c % 32 of word c / 32: pre-activation > 0
//      partials f32 [splits][4K + 1][C]: rows 4k + a of dw, then dbias; adam.cu adds them up in order
// T = f16, bf16, f32; weights and sums are f32 in each.   reference: engine/cpu/first_conv.rs
//
// forward
//   table        3 taps at a time: all 64 sums of 3 weights, 7 tables for K = 21, of 32 channels:
//                57,344 B. An output is 7 additions instead of 21. Groups that do not fit (K > 33)
//                and groups with an N are added tap by tap from memory.
//   block        256 threads, 32 channels, `rows_per_block` rows in passes of 128; 8 lanes a row,
//                so a 128-bit read of shared memory has no bank conflict and a row's store is whole
//                sectors. Rows run across examples.
//   grid         (C / 32, row splits); the table costs as much as about 250 rows, so splits are long
//   floor        B = 64, C = 512: 146 MB written in 16 bit, 34 us at 4.3 TB/s. Shared memory is the
//                bound of this form: 7 x 4 B an output = 1.92 GB, 67 us at 128 B/clk on 132 SMs
//   measured     unmeasured
//   registers    46 on sm_80, 52 on sm_90
// gradient
//   position     walking along the input, base codes[p] takes dz[p - k] into sum (k, base) for every
//                tap: the last 21 dz of a channel are in registers, a warp branches on the base,
//                and each addition is one FADD: K a row and channel, where a one-hot product has 4K.
//   block        4 warps, 32 channels, 21 taps; a warp takes a segment of an example, the warps' sums
//                are added in order through shared memory
//   grid         (C / 32, ceil(K / 21), splits)
//   floor        137 MB read, 32 us; 1.44 G FADD, 50 us on 132 SMs
//   measured     unmeasured
//   registers    138 to 151 on sm_80, 144 on sm_90
//   tolerance    forward 1e-7 a tap in f32 (weights of size 1, 21 terms in another order), one rounding in
//                16 bit; gradient 1e-6 relative L2 (seen: 1.6e-7): f32 sums of a few hundred terms each
//   dropped      tensor cores for the forward: at the portable core's rate a hi + lo split of K = 96
//                takes as long as the table

#include "first_conv.cuh"

// X_0 and its mask.
template <class T>
struct ReluMask {
  Global<T> x;
  Global<uint32_t> mask;
  uint32_t channels;

  CBP_DEVICE void operator()(bool inside, uint32_t row, uint32_t column, float4 z) const {
    if (inside) {
      const float4 y = make_float4(relu(z.x), relu(z.y), relu(z.z), relu(z.w));
      store4<T>(x, (size_t)row * channels + column, y);
    }
    if (mask) {
      const uint32_t c = column % CHANNELS;
      uint32_t bits = (z.x > 0.0f) | (z.y > 0.0f) << 1 | (z.z > 0.0f) << 2 | (z.w > 0.0f) << 3;
      bits <<= c;
      bits |= shfl_xor(bits, 1);
      bits |= shfl_xor(bits, 2);
      bits |= shfl_xor(bits, 4);
      if (inside && c == 0) mask[(size_t)row * (channels / 32) + column / 32] = bits;
    }
  }
};

template <class T>
CBP_DEVICE void first_conv_forward(const FirstConvForward& p) {
  first_conv_rows(p, ReluMask<T>{p.x.template as<T>(), p.mask, p.channels});
}

CBP_KERNEL(first_conv_forward_f16, FirstConvForward, FORWARD_THREADS, 3) { first_conv_forward<half_t>(p); }
CBP_KERNEL(first_conv_forward_bf16, FirstConvForward, FORWARD_THREADS, 3) { first_conv_forward<bf16_t>(p); }
CBP_KERNEL(first_conv_forward_f32, FirstConvForward, FORWARD_THREADS, 3) { first_conv_forward<float>(p); }

constexpr uint32_t WARPS = 4;
constexpr uint32_t TAPS = 21;   // of a block, sums in registers
constexpr uint32_t UNROLL = 7;  // positions between two moves of the window

struct FirstConvGradient {
  Global<uint8_t> dz;  // of the element type
  Global<uint8_t> codes;
  Global<float> partials;
  uint32_t length;  // L
  uint32_t inputlen;
  uint32_t channels;
  uint32_t width;
  uint32_t segments;     // of all examples: B * segments of an example
  uint32_t segment_len;  // positions
  FastDiv per_example;   // segments of an example
  uint32_t padding;
};

// Adds the window's dz to the sums of one base.
CBP_DEVICE void add_window(float (&sums)[TAPS], const float (&window)[TAPS + UNROLL], uint32_t newest) {
#pragma unroll
  for (uint32_t k = 0; k < TAPS; k++) sums[k] += window[newest + k];
}

template <class T>
CBP_DEVICE void first_conv_gradient(const FirstConvGradient& p) {
  const uint32_t c = blockIdx.x * CHANNELS + lane();
  const uint32_t tap0 = blockIdx.y * TAPS;
  const Global<T> dz = p.dz.template as<T>();
  float sums[4][TAPS] = {};
  float by_bias = 0.0f;

  // Segments of this block: warp w of split s takes numbers WARPS * s + w, then one round further.
  for (uint32_t segment = blockIdx.z * WARPS + warp(); segment < p.segments; segment += gridDim.z * WARPS) {
    const uint32_t b = p.per_example.div(segment);
    const int32_t begin = (int32_t)((segment - b * p.per_example.d) * p.segment_len);
    const int32_t end = begin + (int32_t)p.segment_len < (int32_t)p.inputlen ? begin + (int32_t)p.segment_len
                                                                             : (int32_t)p.inputlen;
    const size_t first_row = (size_t)b * p.length, first_code = (size_t)b * p.inputlen;
    // dz[b, t, c], 0 outside
    auto at = [&](int32_t t) -> float {
      if (t < 0 || t >= (int32_t)p.length) return 0.0f;
      const T v = dz[(first_row + t) * p.channels + c];
      return to_float(v);
    };
    // window[UNROLL - j + k] = dz[position + j - tap0 - k] in round j: newest first
    float window[TAPS + UNROLL];
#pragma unroll
    for (uint32_t k = 0; k < TAPS; k++) window[k] = at(begin - 1 - (int32_t)tap0 - (int32_t)k);
    for (int32_t position = begin; position < end; position += UNROLL) {
#pragma unroll
      for (uint32_t k = TAPS; k-- > 0;) window[k + UNROLL] = window[k];
#pragma unroll
      for (uint32_t j = 0; j < UNROLL; j++) {
        window[UNROLL - 1 - j] = at(position + (int32_t)j - (int32_t)tap0);
      }
#pragma unroll
      for (uint32_t j = 0; j < UNROLL; j++) {
        if (position + (int32_t)j >= end) break;
        const uint32_t newest = UNROLL - 1 - j;
        by_bias += window[newest];
        const uint8_t code = p.codes[first_code + position + j];
        switch (code) {  // the same in all lanes
          case 0: add_window(sums[0], window, newest); break;
          case 1: add_window(sums[1], window, newest); break;
          case 2: add_window(sums[2], window, newest); break;
          case 3: add_window(sums[3], window, newest); break;
        }
      }
    }
  }

  // The warps' sums, added in order. shared[warp][sum][lane]; the last sum is the bias.
  constexpr uint32_t SUMS = 4 * TAPS + 1;
  const Shared<float> shared = shared_at<float>(0);
#pragma unroll
  for (uint32_t k = 0; k < TAPS; k++) {
#pragma unroll
    for (uint32_t a = 0; a < 4; a++) shared[(warp() * SUMS + k * 4 + a) * FULL_WARP + lane()] = sums[a][k];
  }
  shared[(warp() * SUMS + SUMS - 1) * FULL_WARP + lane()] = by_bias;
  block_sync();
  for (uint32_t i = warp(); i < SUMS; i += WARPS) {
    const bool is_bias = i == SUMS - 1;
    const uint32_t row = is_bias ? 4 * p.width : tap0 * 4 + i;
    if (is_bias ? tap0 != 0 : row >= 4 * p.width) continue;
    float sum = 0.0f;
    for (uint32_t w = 0; w < WARPS; w++) {
      const float part = shared[(w * SUMS + i) * FULL_WARP + lane()];
      sum += part;
    }
    p.partials[((size_t)blockIdx.z * (4 * p.width + 1) + row) * p.channels + c] = sum;
  }
}

CBP_KERNEL(first_conv_gradient_f16, FirstConvGradient, WARPS * FULL_WARP, 3) { first_conv_gradient<half_t>(p); }
CBP_KERNEL(first_conv_gradient_bf16, FirstConvGradient, WARPS * FULL_WARP, 3) { first_conv_gradient<bf16_t>(p); }
CBP_KERNEL(first_conv_gradient_f32, FirstConvGradient, WARPS * FULL_WARP, 3) { first_conv_gradient<float>(p); }
