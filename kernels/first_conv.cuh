// The first convolution's forward pass, up to what is kept of it: what first_conv.cu and rescale_first.cu share.
#pragma once

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

// out(inside, row, column, z) for the pre-activations of every row and four channels on end. All lanes of a warp call it
// together, also for a row that does not exist (inside = false).
template <class Out>
CBP_DEVICE void first_conv_rows(const FirstConvForward& p, const Out& out) {
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
      }
      out(inside, row, c0 + c, z);
    }
  }
}
