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

#include "small.cuh"

constexpr uint32_t CHANNELS = 32;  // of a block: one mask word
constexpr uint32_t GROUP = 3;      // taps of a table
constexpr uint32_t ENTRIES = 64;   // 4^GROUP
constexpr uint32_t HAS_N = 255;    // entry number of a group with an N

constexpr uint32_t FORWARD_THREADS = 256;
constexpr uint32_t ROW_LANES = 8;  // lanes that share a row, 4 channels each
constexpr uint32_t PASS_ROWS = 128;
static_assert(ROW_LANES * 4 == CHANNELS, "a lane has 4 channels");

struct FirstConvForward {
  Global<uint8_t> codes;
  Global<float> w;
  Global<float> bias;
  Global<uint8_t> x;     // of the element type
  Global<uint32_t> mask;  // null: not wanted
  uint32_t rows;          // B * L
  uint32_t rows_per_block;
  uint32_t inputlen;
  uint32_t channels;
  uint32_t width;
  uint32_t table_groups;  // groups that have a table in shared memory
  FastDiv length;
  uint32_t padding;
};

// z += w[k][codes[k]] for the taps of one group; reads memory.
CBP_DEVICE void add_taps(const FirstConvForward& p, float4& z, size_t first_code, uint32_t group, uint32_t c) {
  for (uint32_t k = group * GROUP; k < p.width && k < (group + 1) * GROUP; k++) {
    const uint32_t code = p.codes[first_code + k];
    if (code >= 4) continue;
    const float4 w = load_vec<float4>(p.w, (size_t)(k * 4 + code) * p.channels + c);
    z.x += w.x;
    z.y += w.y;
    z.z += w.z;
    z.w += w.w;
  }
}

// NaN passes, so that a broken weight shows in the loss.
CBP_DEVICE float relu(float z) { return z <= 0.0f ? 0.0f : z; }

template <class T>
CBP_DEVICE void first_conv_forward(const FirstConvForward& p) {
  const uint32_t c0 = blockIdx.x * CHANNELS;
  // table[group][entry][channel]: sums of the group's taps; entry = code_0 + 4 code_1 + 16 code_2
  const Shared<float> table = shared_at<float>(0);
  // entries[row of the pass][group], rows padded so that four entries are one word
  const Shared<uint8_t> entries = shared_at<uint8_t>(p.table_groups * ENTRIES * CHANNELS * 4);
  const uint32_t entry_stride = (p.table_groups + 3) / 4 * 4;

  const uint32_t cells = p.table_groups * ENTRIES * CHANNELS;
  for (uint32_t i = threadIdx.x; i < cells; i += FORWARD_THREADS) {
    const uint32_t c = i % CHANNELS, entry = i / CHANNELS % ENTRIES, group = i / (CHANNELS * ENTRIES);
    float sum = 0.0f;
    for (uint32_t j = 0; j < GROUP; j++) {
      const uint32_t k = group * GROUP + j, code = entry >> (2 * j) & 3;
      if (k < p.width) {
        const float w = p.w[(size_t)(k * 4 + code) * p.channels + c0 + c];
        sum += w;
      }
    }
    table[i] = sum;
  }

  const uint32_t groups = (p.width + GROUP - 1) / GROUP;
  const uint32_t row_of_pass = threadIdx.x / ROW_LANES;
  const uint32_t c = threadIdx.x % ROW_LANES * 4;  // in the block
  const float4 bias = load_vec<float4>(p.bias, c0 + c);
  const uint32_t begin = blockIdx.y * p.rows_per_block;
  const uint32_t end = begin + p.rows_per_block < p.rows ? begin + p.rows_per_block : p.rows;

  for (uint32_t first = begin; first < end; first += PASS_ROWS) {
    block_sync();  // the table is there; the last pass is done with its entries
    for (uint32_t i = threadIdx.x; i < PASS_ROWS * entry_stride; i += FORWARD_THREADS) {
      const uint32_t row = first + i % PASS_ROWS, group = i / PASS_ROWS;
      if (row >= end) continue;
      const uint32_t b = p.length.div(row), t = row - b * p.length.d;
      uint32_t entry = 0;
      for (uint32_t j = 0; j < GROUP; j++) {
        const uint32_t k = group * GROUP + j;
        if (k >= p.width) break;
        const uint32_t code = p.codes[(size_t)b * p.inputlen + t + k];
        entry = code < 4 && entry != HAS_N ? entry | code << (2 * j) : HAS_N;
      }
      entries[i % PASS_ROWS * entry_stride + group] = (uint8_t)entry;
    }
    block_sync();
    for (uint32_t r = row_of_pass; r < PASS_ROWS; r += FORWARD_THREADS / ROW_LANES) {
      // All lanes of a warp go round together: the mask word is put together by shuffles.
      const uint32_t row = first + r;
      const bool inside = row < end;
      float4 z = bias;
      if (inside) {
        const uint32_t b = p.length.div(row), t = row - b * p.length.d;
        const size_t code = (size_t)b * p.inputlen + t;
        uint32_t four = 0;
#pragma unroll 4
        for (uint32_t group = 0; group < p.table_groups; group++) {
          if (group % 4 == 0) four = load_vec<uint32_t>(entries, r * entry_stride + group);
          const uint32_t entry = four >> (group % 4 * 8) & 255;
          if (entry == HAS_N) {
            add_taps(p, z, code, group, c0 + c);
          } else {
            const float4 sum = load_vec<float4>(table, (group * ENTRIES + entry) * CHANNELS + c);
            z.x += sum.x;
            z.y += sum.y;
            z.z += sum.z;
            z.w += sum.w;
          }
        }
        for (uint32_t group = p.table_groups; group < groups; group++) add_taps(p, z, code, group, c0 + c);
        const float4 x = make_float4(relu(z.x), relu(z.y), relu(z.z), relu(z.w));
        store4<T>(p.x.template as<T>(), (size_t)row * p.channels + c0 + c, x);
      }
      if (p.mask) {
        uint32_t bits = (z.x > 0.0f) | (z.y > 0.0f) << 1 | (z.z > 0.0f) << 2 | (z.w > 0.0f) << 3;
        bits <<= c;
        bits |= shfl_xor(bits, 1);
        bits |= shfl_xor(bits, 2);
        bits |= shfl_xor(bits, 4);
        if (inside && c == 0) p.mask[(size_t)row * (p.channels / 32) + blockIdx.x] = bits;
      }
    }
  }
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
