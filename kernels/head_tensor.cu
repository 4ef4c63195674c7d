// head_split, head_forward: both heads of a branch for 16-bit feature maps, on tensor cores. head.cu has the
// mathematics, the f32 form and the second half, head_gather.
//   P[row, n] = sum_c x[row, c] w[n][c], n < K the profile's taps, n = K the dense layer
//
// in   w f32 [K][C]   dense f32 [C]   x T [B, L, C]
// mid  split T [column tiles][2 * 80][C]: of every 8 columns hi, then lo (head_tensor.cuh), in a stage's order
//      unscale f32 [column tiles][80]: what a column's products are to be multiplied by
// out  diagonals f32 [column tiles][B][row tiles][192 + 79]   pooled f32 [B][row tiles]
// T = f16, bf16; sums in f32.   reference: engine/cpu/branch.rs
//
//   split        one block a column, once a step. Every tile would have to do it again, with as many instructions as
//                a fifth of its products, and would not read less: parts are as many bytes as the f32 weights
//   tile         192 rows x 80 columns, 6 warps of 64 x 40. At 128 rows the weights would be more traffic from L2
//                to the multiprocessors than x: 170 MB in all instead of 133
//   k step       32 channels; one ldmatrix brings a column's hi and lo, and x is read once for both
//   stages       3 of 22 KB; one block an SM on the 100 KB of sm_86, 89, 120, two elsewhere
//   end          the products then lie in shared memory, and their diagonals are added there: 271 numbers a tile go
//                to memory
//   idle         in tiles outside the cropped profile (4 of 11 in a bias model) only the warps of the dense column
//                work; warps beyond the last row never do
//   floor        B = 64, C = 512, L = 1074: 70 MB, 16 us at 4.3 TB/s (H200)
//   predicted    11.4 GFLOP, 19 us at the 600 TFLOP/s of mma.sync (H200); 133 MB from L2, 24 us at 5.5 TB/s; split
//                2 us: 28 to 32 us where FFMA is bound by 93
//   measured     unmeasured
//   registers    forward 165 (two blocks an SM), split 32; no spills, no stack
//   tolerance    logits, relative L2: f16 2e-6, bf16 6e-6 (2.8e-6 of each weight, head_tensor.cuh); logcounts 1e-6,
//                bf16 3e-6. A GPU's tensor cores cut what does not fit while they add: 64 additions to a sum, 2^-24 of
//                it each on average, at most 4e-6 and all towards zero, 1/70 of what rounding x to f16 does
//   dropped      w split in fragments, from f32 in shared memory: two instructions for each product. 256 rows, 8 warps:
//                122 MB, but in the 128 registers of two blocks an SM half as many instructions again

#include "head.cuh"
#include "head_tensor.cuh"

constexpr int ROWS = 192;
constexpr int THREADS = 192;
constexpr int DEPTH = 32;  // channels of a stage
constexpr int STAGES = 3;
constexpr int WARPS_N = 2;
constexpr int WARP_ROWS = 64;
constexpr int GROUPS = COLUMNS / 8 / WARPS_N;  // of 8 columns, of a warp
constexpr uint32_t P_STRIDE = 83;  // odd: a diagonal touches every bank; 3 mod 16: a write, two words a bank
constexpr uint32_t DIAGONALS = ROWS + COLUMNS - 1;

// -------------------------------------------------------------------------------------------- split

struct HeadSplit {
  Global<float> w;
  Global<float> dense;
  Global<uint8_t> split;  // of the element type
  Global<float> unscale;
  uint32_t channels;
  uint32_t width;  // K
};

constexpr uint32_t SPLIT_THREADS = 128;

template <class T>
CBP_DEVICE void head_split(const HeadSplit& p) {
  const uint32_t n = blockIdx.x, column = n % COLUMNS;
  const Global<float> source = n < p.width ? p.w + (size_t)n * p.channels : p.dense;
  const bool exists = n <= p.width;
  uint32_t largest = 0;
  for (uint32_t c = threadIdx.x; exists && c < p.channels; c += SPLIT_THREADS) {
    const float w = source[c];
    largest = larger(largest, magnitude(w));
  }
  const Power power(largest_of_block<SPLIT_THREADS / WARP>(largest, shared_at<uint32_t>(0)));
  if (threadIdx.x == 0) p.unscale[n] = power.down;

  const size_t hi_row = n / COLUMNS * (2 * COLUMNS) + column / 8 * 16 + column % 8;
  const Global<T> hi_to = p.split.template as<T>() + hi_row * p.channels;
  const Global<T> lo_to = hi_to + 8 * (size_t)p.channels;
  for (uint32_t c = 2 * threadIdx.x; c < p.channels; c += 2 * SPLIT_THREADS) {
    const float2 w = exists ? load_vec<float2>(source, c) : make_float2(0.0f, 0.0f);
    uint32_t hi, lo;
    split2<T>(hi, lo, w.x * power.up, w.y * power.up);
    store_vec(hi_to, c, hi);
    store_vec(lo_to, c, lo);
  }
}

CBP_KERNEL(head_split_f16, HeadSplit, SPLIT_THREADS, 4) { head_split<half_t>(p); }
CBP_KERNEL(head_split_bf16, HeadSplit, SPLIT_THREADS, 4) { head_split<bf16_t>(p); }

// ------------------------------------------------------------------------------------------ forward

struct HeadTensorForward {
  Global<uint8_t> x;      // of the element type
  Global<uint8_t> split;  // of the element type
  Global<float> unscale;
  Global<float> diagonals;
  Global<float> pooled;  // the tile's part of sum_t x . dense
  uint32_t batch;
  uint32_t length;  // L
  uint32_t channels;
  uint32_t width;  // K
  uint32_t crop;
  uint32_t outputlen;
};

template <class T>
struct Stage {
  using X = StageTile<T, Major::K, ROWS, DEPTH>;
  using W = StageTile<T, Major::K, 2 * COLUMNS, DEPTH>;
  static_assert(reads_every_bank<X>() && reads_every_bank<W>(), "no bank conflicts");
  static_assert(STAGES * (X::BYTES + W::BYTES) >= ROWS * P_STRIDE * 4, "the products take the stages' place");
};

template <class T>
CBP_DEVICE void head_forward(const HeadTensorForward& p) {
  using X = typename Stage<T>::X;
  using W = typename Stage<T>::W;
  constexpr uint32_t STAGE_BYTES = X::BYTES + W::BYTES;

  const uint32_t tile = blockIdx.x, b = blockIdx.y, z = blockIdx.z, column0 = z * COLUMNS;
  const uint32_t first = tile * ROWS;  // row of the example
  const uint32_t m0 = warp() / WARPS_N * WARP_ROWS, group0 = warp() % WARPS_N * GROUPS;

  const bool has_dense = p.width - column0 < COLUMNS;
  const uint32_t taps = has_dense ? p.width - column0 : COLUMNS;  // and the dense column's place
  const bool in_profile = first < p.crop + p.outputlen + p.width - 1 && first + ROWS > p.crop;
  const bool does_dense = has_dense && taps / (8 * GROUPS) == warp() % WARPS_N;
  const bool works = first + m0 < p.length && (in_profile || does_dense);

  // A thread copies one column of chunks, every STRIDE-th row.
  constexpr uint32_t STRIDE = THREADS / X::CHUNKS;
  static_assert(THREADS % X::CHUNKS == 0 && ROWS % STRIDE == 0 && STRIDE % X::PERIOD == 0, "chunks evenly spaced");
  const uint32_t row = threadIdx.x / X::CHUNKS, chunk = threadIdx.x % X::CHUNKS;
  const uint32_t to = X::offset(row, chunk), stride = STRIDE * p.channels;
  const int32_t rows_left = (int32_t)p.length - (int32_t)(first + row);
  Global<T> x_from = p.x.template as<T>() + (((size_t)b * p.length + first + row) * p.channels + chunk * X::PER_CHUNK);
  Global<T> w_from = p.split.template as<T>() + (((size_t)z * 2 * COLUMNS + row) * p.channels + chunk * W::PER_CHUNK);
  auto copy = [&](uint32_t, uint32_t stage) {
    const uint32_t at = stage * STAGE_BYTES + to;
    Global<T> from = x_from;
#pragma unroll
    for (uint32_t i = 0; i < ROWS; i += STRIDE) {
      cp_async16(shared_at<T>(at + i * X::PITCH).address(), from, (int32_t)i < rows_left);
      from = from + stride;
    }
    from = w_from;
#pragma unroll
    for (uint32_t i = 0; i < 2 * COLUMNS; i += STRIDE) {
      if (row + i >= 2 * COLUMNS) break;
      cp_async16(shared_at<T>(at + X::BYTES + i * W::PITCH).address(), from, true);
      from = from + stride;
    }
    x_from = x_from + DEPTH;
    w_from = w_from + DEPTH;
  };
  float sums[WARP_ROWS / 16][GROUPS][4] = {};
  auto multiply = [&](uint32_t, uint32_t stage) {
    if (!works) return;
    const uint32_t at = stage * STAGE_BYTES;
#pragma unroll
    for (int k = 0; k < DEPTH; k += 16) {
      uint32_t a[WARP_ROWS / 16][4];
#pragma unroll
      for (int i = 0; i < WARP_ROWS / 16; i++) load_block<Role::A, X>(a[i], at, m0 + 16 * i, k);
#pragma unroll
      for (int j = 0; j < GROUPS; j++) {
        uint32_t w[4];  // hi in the first two, lo in the others
        load_block<Role::B, W>(w, at + X::BYTES, 16 * (group0 + j), k);
#pragma unroll
        for (int i = 0; i < WARP_ROWS / 16; i++) mma_16816<T>(sums[i][j], a[i], w[2], w[3]);
#pragma unroll
        for (int i = 0; i < WARP_ROWS / 16; i++) mma_16816<T>(sums[i][j], a[i], w[0], w[1]);
      }
    }
  };
  ring<STAGES>(p.channels / DEPTH, copy, multiply);

  const Shared<float> ps = shared_at<float>(0);  // [ROWS][P_STRIDE]
  block_sync();                                  // the stages are used up
#pragma unroll
  for (int j = 0; j < GROUPS; j++) {
    const uint32_t column = 8 * (group0 + j) + lane() % 4 * 2;
    const float2 unscale = load_vec<float2>(p.unscale, column0 + column);
#pragma unroll
    for (int i = 0; i < WARP_ROWS / 16; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const uint32_t at = (m0 + 16 * i + 8 * half + lane() / 4) * P_STRIDE + column;
        ps[at] = sums[i][j][2 * half] * unscale.x;
        ps[at + 1] = sums[i][j][2 * half + 1] * unscale.y;
      }
    }
  }
  block_sync();
  // Position q - (COLUMNS - 1) from the tile's first row: row r and column k with r - k there.
  const size_t place = ((size_t)z * p.batch + b) * gridDim.x + tile;
  for (uint32_t q = threadIdx.x; q < DIAGONALS; q += THREADS) {
    float sum = 0.0f;
    for (uint32_t k = 0; k < taps; k++) {
      const uint32_t r = q + k - (COLUMNS - 1);  // wraps to a large number before the tile
      if (r < ROWS) {
        const float product = ps[r * P_STRIDE + k];
        sum += product;
      }
    }
    p.diagonals[place * DIAGONALS + q] = sum;
  }
  // The dense column, by one warp: six rows a lane, then a tree.
  if (has_dense && warp() == 0) {
    float sum = 0.0f;
    for (uint32_t r = lane(); r < ROWS; r += FULL_WARP) {
      const float product = ps[r * P_STRIDE + taps];
      sum += product;
    }
    for (uint32_t d = FULL_WARP / 2; d > 0; d /= 2) sum += shfl_down(sum, d);
    if (lane() == 0) p.pooled[(size_t)b * gridDim.x + tile] = sum;
  }
}

CBP_KERNEL(head_forward_f16, HeadTensorForward, THREADS, 2) { head_forward<half_t>(p); }
CBP_KERNEL(head_forward_bf16, HeadTensorForward, THREADS, 2) { head_forward<bf16_t>(p); }
