// head_forward, head_gather: both heads of a branch from its last feature map x = X_n, read once.
//   logits[b,p]  = profile_bias + sum_k sum_c x[b, crop + p + k, c] w[k][c]             k < K
//   logcounts[b] = dense_bias + 1/L sum_t sum_c x[b,t,c] dense[c]
// head_input_gradient:
//   g[b,t,c] = sum_k dlogits[b, t - crop - k] w[k][c] + dlogcounts[b] / L * dense[c]
//   dz = g where the mask is set, else 0; column sums of dz are the last layer's bias gradient
// head_weight_gradient:
//   dw[k][c] = sum_{b,p} dlogits[b,p] x[b, crop + p + k, c];  ddense[c] = sum_b dlogcounts[b] / L sum_t x[b,t,c]
//   features[c] = sum_b 1 / L sum_t x[b,t,c], for counts_head.cu
//   (their biases' gradients are sums that loss.cu makes)
//
// in   x T [B, L, C]   w f32 [K][C]   dense f32 [C]   mask u32 [B*L][C/32]
//      dlogits f32 [B, outputlen]   dlogcounts f32 [B]
// out  logits f32 [B, outputlen]   logcounts f32 [B]   g, dz T [B, L, C]   column sums f32 [row tiles][C]
//      partials f32 [splits][K + 2][C]: rows of dw, then ddense, then features; adam.cu and counts_head.cu add them up
//      in order. Features are those of the step's examples alone: StepState
// T = f32 here, every product and sum. f16 and bf16 are in head_tensor.cu and head_tensor_gradient.cu, but for
// head_gather, which is for all.   reference: engine/cpu/branch.rs
//
// All three are thin products with 76 = K + 1 columns, on FFMA: 2.7 G FMA at B = 64, C = 512, L = 1074,
// 93 us on 132 SMs at 1.7 GHz. That, and not memory (33, 66, 33 us), is the bound of this form.
//
//   forward      tile 128 rows x 80 columns, 128 threads of 8 x 10; 16 channels at a time, the next ones
//                on their way in registers. The tile's products then lie in shared memory, and their
//                diagonals are added there: 207 numbers a tile go to memory, not 128 x 80. x is
//                read once (again for each further 80 columns, if K > 79). Tiles outside the cropped
//                profile (6 of 16 in a bias model) only do the dense column.
//   gather       one block an example adds the two or three tiles that meet at a position
//   input        tile 128 rows x 64 channels, 128 threads of 8 x 8. Row t and tap k meet at
//                dlogits[t - k], so a thread's 8 factors slide: one read of shared memory for 64 FMA.
//   weights      tile 80 taps x 64 channels, 64 threads of 10 x 8, sliding along the rows; a split is a
//                run of examples
//   measured     unmeasured
//   registers    forward 205 (160 on sm_80, 155 on sm_90), gather 40, input 128 (4 blocks an SM),
//                weights 225 (202 on sm_80, 217 on sm_90)
//   tolerance    logits 2e-6 relative L2, logcounts 1e-6: sums of 75 sums of at most 512 terms; g and dz 1e-6 of the
//                sum of a value's magnitudes; their column sums 1e-5 and the weight gradient 5e-6 relative L2: 1000s
//                of rows in runs (seen: 8e-7)

#include "head.cuh"
#include "head_gradient.cuh"

// ---------------------------------------------------------------------------------------- forward

constexpr uint32_t DEPTH = 16;    // channels at a time
constexpr uint32_t W_STRIDE = COLUMNS + 2;  // even, for 64-bit reads; 16 channels write to 16 banks
constexpr uint32_t P_STRIDE = COLUMNS + 1;  // odd: a diagonal touches every bank

struct HeadForward {
  Global<float> x;
  Global<float> w;
  Global<float> dense;
  Global<float> diagonals;  // [column tiles][B][row tiles][ROWS + COLUMNS - 1]
  Global<float> pooled;     // [B][row tiles]: the tile's part of sum_t x . dense
  uint32_t batch;
  uint32_t length;  // L
  uint32_t channels;
  uint32_t width;  // K
  uint32_t crop;
  uint32_t outputlen;
};

// Where element (channel, row) of the x tile lies: rows change places in eights, so that a warp's
// write (8 rows x 4 channels, 4 apart) has no bank conflict; fours stay together for the read.
CBP_DEVICE uint32_t x_place(uint32_t channel, uint32_t row) { return channel * ROWS + (row ^ (channel / 4 % 4 * 8)); }

// Blocks on a multiprocessor. ptxas takes more registers from sm_100 on and spills at three.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr uint32_t FORWARD_BLOCKS = 2;
#else
constexpr uint32_t FORWARD_BLOCKS = 3;
#endif

CBP_KERNEL(head_forward_f32, HeadForward, THREADS, FORWARD_BLOCKS) {
  const uint32_t tile = blockIdx.x, b = blockIdx.y, column0 = blockIdx.z * COLUMNS;
  const uint32_t first = tile * ROWS;  // row of the example
  const Shared<float> xs = shared_at<float>(0);                 // [DEPTH][ROWS], see x_place
  const Shared<float> ws = shared_at<float>(DEPTH * ROWS * 4);  // [DEPTH][W_STRIDE]
  const Shared<float> ps = shared_at<float>(0);                 // [ROWS][P_STRIDE], when the products are done

  // Threads of a warp share their columns in pairs of groups, so that idle columns make idle warps.
  const uint32_t row0 = threadIdx.x % 16 * 4, group0 = threadIdx.x / 16 * 10;
  const bool in_profile = first < p.crop + p.outputlen + p.width - 1 && first + ROWS > p.crop;
  const bool has_dense = p.width >= column0 + group0 && p.width < column0 + group0 + 10;
  const bool idle = !in_profile && !has_dense;

  // Each thread brings 4 channels of 4 rows, and 10 weights. Rows come from memory and are asked for
  // early; weights are in L2 and wait in no register.
  const uint32_t load_row = threadIdx.x / 4, load_channel = threadIdx.x % 4 * 4;
  const uint32_t w_channel = threadIdx.x % DEPTH, w_column = threadIdx.x / DEPTH;
  float4 next[ROWS / 32];
  auto load = [&](uint32_t c0) {
#pragma unroll
    for (uint32_t i = 0; i < ROWS / 32; i++) {
      const uint32_t row = first + load_row + 32 * i;
      next[i] = {};
      if (row < p.length) {
        next[i] = load_vec<float4>(p.x, ((size_t)b * p.length + row) * p.channels + c0 + load_channel);
      }
    }
  };

  float sums[8][10] = {};
  load(0);
  for (uint32_t c0 = 0; c0 < p.channels; c0 += DEPTH) {
    block_sync();  // the last channels are used up
#pragma unroll
    for (uint32_t i = 0; i < ROWS / 32; i++) {
      const uint32_t row = load_row + 32 * i;
      const float4 v = next[i];
      xs[x_place(load_channel + 0, row)] = v.x;
      xs[x_place(load_channel + 1, row)] = v.y;
      xs[x_place(load_channel + 2, row)] = v.z;
      xs[x_place(load_channel + 3, row)] = v.w;
    }
#pragma unroll 5
    for (uint32_t i = 0; i < COLUMNS / 8; i++) {
      const uint32_t column = column0 + w_column + 8 * i;
      float w = 0.0f;
      if (column < p.width) w = p.w[(size_t)column * p.channels + c0 + w_channel];
      if (column == p.width) w = p.dense[c0 + w_channel];
      ws[w_channel * W_STRIDE + w_column + 8 * i] = w;
    }
    block_sync();
    if (c0 + DEPTH < p.channels) load(c0 + DEPTH);
    if (idle) continue;
#pragma unroll 2
    for (uint32_t c = 0; c < DEPTH; c++) {
      float a[8], w[10];
      const float4 low = load_vec<float4>(xs, x_place(c, row0));
      const float4 high = load_vec<float4>(xs, x_place(c, row0 + ROWS / 2));
      a[0] = low.x, a[1] = low.y, a[2] = low.z, a[3] = low.w;
      a[4] = high.x, a[5] = high.y, a[6] = high.z, a[7] = high.w;
#pragma unroll
      for (uint32_t j = 0; j < 5; j++) {
        const float2 pair = load_vec<float2>(ws, c * W_STRIDE + group0 + 2 * j);
        w[2 * j] = pair.x, w[2 * j + 1] = pair.y;
      }
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) {
#pragma unroll
        for (uint32_t j = 0; j < 10; j++) sums[i][j] += a[i] * w[j];
      }
    }
  }

  block_sync();
#pragma unroll
  for (uint32_t i = 0; i < 8; i++) {
#pragma unroll
    for (uint32_t j = 0; j < 10; j++) ps[of_two_runs(row0, i, ROWS) * P_STRIDE + group0 + j] = sums[i][j];
  }
  block_sync();
  // Position q - (COLUMNS - 1) from the tile's first row: row r and column k with r - k there.
  const size_t place = ((size_t)blockIdx.z * p.batch + b) * gridDim.x + tile;
  const uint32_t taps = p.width - column0 < COLUMNS ? p.width - column0 : COLUMNS;
  for (uint32_t q = threadIdx.x; q < ROWS + COLUMNS - 1; q += THREADS) {
    float sum = 0.0f;
    for (uint32_t k = 0; k < taps; k++) {
      const uint32_t row = q + k - (COLUMNS - 1);  // wraps to a large number before the tile
      if (row < ROWS) {
        const float product = ps[row * P_STRIDE + k];
        sum += product;
      }
    }
    p.diagonals[place * (ROWS + COLUMNS - 1) + q] = sum;
  }
  // The dense column, by one warp: four rows a lane, then a tree.
  if (p.width - column0 < COLUMNS && warp() == 0) {
    float sum = 0.0f;
    for (uint32_t r = lane(); r < ROWS; r += FULL_WARP) {
      const float product = ps[r * P_STRIDE + p.width - column0];
      sum += product;
    }
    for (uint32_t d = FULL_WARP / 2; d > 0; d /= 2) sum += shfl_down(sum, d);
    if (lane() == 0) p.pooled[(size_t)b * gridDim.x + tile] = sum;
  }
}

struct HeadGather {
  Global<float> diagonals;
  Global<float> pooled;
  Global<float> profile_bias;  // [1]
  Global<float> dense_bias;    // [1]
  Global<float> logits;
  Global<float> logcounts;
  uint32_t batch;
  uint32_t length;
  uint32_t crop;
  uint32_t outputlen;
  uint32_t rows;  // of a tile of the product, here or in head_tensor.cu
  uint32_t row_tiles;
  uint32_t column_tiles;
  uint32_t padding;
};

CBP_KERNEL(head_gather, HeadGather, 256, 1) {
  const uint32_t b = blockIdx.x;
  const float profile_bias = p.profile_bias[0];
  const uint32_t of_tile = p.rows + COLUMNS - 1;
  for (uint32_t i = threadIdx.x; i < p.outputlen; i += blockDim.x) {
    float sum = profile_bias;
    for (uint32_t z = 0; z < p.column_tiles; z++) {
      // Column k of tile z is tap z * COLUMNS + k: its diagonal begins that much further on.
      const uint32_t at = p.crop + i + z * COLUMNS;
      // Tiles with row at + k for some k < COLUMNS.
      const uint32_t last = (at + COLUMNS - 1) / p.rows;
      for (uint32_t tile = at / p.rows; tile <= last && tile < p.row_tiles; tile++) {
        const size_t place = ((size_t)z * p.batch + b) * p.row_tiles + tile;
        const float part = p.diagonals[place * of_tile + at + COLUMNS - 1 - tile * p.rows];
        sum += part;
      }
    }
    p.logits[(size_t)b * p.outputlen + i] = sum;
  }
  if (threadIdx.x == 0) {
    float sum = 0.0f;
    for (uint32_t tile = 0; tile < p.row_tiles; tile++) {
      const float part = p.pooled[(size_t)b * p.row_tiles + tile];
      sum += part;
    }
    const float bias = p.dense_bias[0];
    p.logcounts[b] = sum / (float)p.length + bias;
  }
}

// --------------------------------------------------------------------------------- input gradient

CBP_KERNEL(head_input_gradient_f32, HeadInputGradient, THREADS, 4) {
  const uint32_t c0 = blockIdx.x * CHANNELS, tile = blockIdx.y, b = blockIdx.z;
  const uint32_t first = tile * ROWS;
  const uint32_t here = p.channels - c0 < CHANNELS ? p.channels - c0 : CHANNELS;  // 32 or 64
  const Shared<float> column = shared_at<float>(0);                      // [16][CHANNELS], at the end
  const uint32_t row0 = threadIdx.x / 8 * 8, channel = threadIdx.x % 8 * 4;
  const uint32_t runs = here / (CHANNELS / 2);  // of 4 channels that are there

  float sums[8][8] = {};
  const float dlogcounts = p.dlogcounts[b];
  const float scale = dlogcounts / (float)p.length;
#pragma unroll
  for (uint32_t j = 0; j < 8; j++) {
    if (j / 4 >= runs) break;
    const float dense = p.dense[c0 + of_two_runs(channel, j, CHANNELS)];
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) sums[i][j] = scale * dense;
  }
  add_profile(sums, p, p.dlogits + (size_t)b * p.outputlen, first, c0, here);

  float by_bias[8] = {};
  bool overflow = false;
#pragma unroll
  for (uint32_t run = 0; run < 2; run++) {
    if (run >= runs) break;
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) {
      const uint32_t t = first + row0 + i;
      if (t >= p.length) break;
      const size_t place =
          ((size_t)b * p.length + t) * p.channels + c0 + of_two_runs(channel, 4 * run, CHANNELS);
      // Mask words are little-endian; half a byte is this run's.
      const uint32_t byte = (uint8_t)p.mask.template as<uint8_t>()[place / 8];
      const uint32_t bits = byte >> (place % 8);
      float dz[4];
#pragma unroll
      for (uint32_t j = 0; j < 4; j++) {
        const float g = sums[i][4 * run + j];
        overflow |= !fits<float>(g);
        dz[j] = bits >> j & 1 ? g : 0.0f;
        by_bias[4 * run + j] += dz[j];
      }
      const float* g = &sums[i][4 * run];
      if (p.g) store_vec(p.g.template as<float>(), place, make_float4(g[0], g[1], g[2], g[3]));
      store_vec(p.dz.template as<float>(), place, make_float4(dz[0], dz[1], dz[2], dz[3]));
    }
  }
  if (overflow) atomic_or(p.overflow, 1);
  block_sync();  // the weights are used up
#pragma unroll
  for (uint32_t j = 0; j < 8; j++) column[row0 / 8 * CHANNELS + of_two_runs(channel, j, CHANNELS)] = by_bias[j];
  block_sync();
  if (threadIdx.x < here) {
    float sum = 0.0f;
    for (uint32_t i = 0; i < ROWS / 8; i++) {
      const float part = column[i * CHANNELS + threadIdx.x];
      sum += part;
    }
    p.column_sums[((size_t)b * gridDim.y + tile) * p.channels + c0 + threadIdx.x] = sum;
  }
}

// -------------------------------------------------------------------------------- weight gradient

constexpr uint32_t W_THREADS = 64;  // 8 groups of 10 taps x 8 of 8 channels
constexpr uint32_t W_ROWS = 32;     // rows at a time
constexpr uint32_t W_UNROLL = 8;    // rows between two moves of the window

CBP_KERNEL(head_weight_gradient_f32, HeadWeightGradient, W_THREADS, 4) {
  const uint32_t c0 = blockIdx.x * CHANNELS, k0 = blockIdx.y * COLUMNS, split = blockIdx.z;
  const uint32_t here = p.channels - c0 < CHANNELS ? p.channels - c0 : CHANNELS;  // 32 or 64
  const Global<float> x = p.x.template as<float>();
  const Shared<float> xs = shared_at<float>(0);                      // [W_ROWS][CHANNELS]
  const Shared<float> ds = shared_at<float>(W_ROWS * CHANNELS * 4);  // [W_ROWS + COLUMNS - 1]
  const uint32_t tap0 = threadIdx.x / 8 * 10, channel = threadIdx.x % 8 * 4;  // in the tile
  const bool pools = blockIdx.y == 0 && tap0 == 0;

  // Each thread brings 4 channels of 8 rows.
  const uint32_t load_row = threadIdx.x / 16, load_channel = threadIdx.x % 16 * 4;
  float4 next[W_ROWS / 4];
  auto load = [&](uint32_t b, uint32_t first) {
#pragma unroll
    for (uint32_t i = 0; i < W_ROWS / 4; i++) {
      const uint32_t t = first + load_row + 4 * i;
      next[i] = {};
      if (t < p.length && load_channel < here) {
        next[i] = load_vec<float4>(x, ((size_t)b * p.length + t) * p.channels + c0 + load_channel);
      }
    }
  };

  float sums[10][8] = {};
  float by_dense[8] = {}, features[8] = {};
  const uint32_t examples = member(p.state, &StepState::examples)[0];
  const uint32_t begin = (uint32_t)((uint64_t)split * p.batch / gridDim.z);
  const uint32_t end = (uint32_t)((uint64_t)(split + 1) * p.batch / gridDim.z);
  for (uint32_t b = begin; b < end; b++) {
    const float dlogcounts = p.dlogcounts[b];
    float pooled[8] = {};
    load(b, 0);
    for (uint32_t first = 0; first < p.length; first += W_ROWS) {
      block_sync();  // the last rows are used up
#pragma unroll
      for (uint32_t i = 0; i < W_ROWS / 4; i++) {
        store_vec(xs, (load_row + 4 * i) * CHANNELS + load_channel, next[i]);
      }
      // ds[i] = dlogits at first + i - (COLUMNS - 1) - crop - k0; 0 outside
      for (uint32_t i = threadIdx.x; i < W_ROWS + COLUMNS - 1; i += W_THREADS) {
        const int32_t at = (int32_t)(first + i) - (int32_t)(COLUMNS - 1 + p.crop + k0);
        float d = 0.0f;
        if (at >= 0 && at < (int32_t)p.outputlen) d = p.dlogits[(size_t)b * p.outputlen + at];
        ds[i] = d;
      }
      block_sync();
      if (first + W_ROWS < p.length) load(b, first + W_ROWS);
      if (pools) {
        for (uint32_t r = 0; r < W_ROWS; r++) {
#pragma unroll
          for (uint32_t j = 0; j < 8; j++) {
            const float v = xs[r * CHANNELS + of_two_runs(channel, j, CHANNELS)];
            pooled[j] += v;
          }
        }
      }
      // Rows whose taps all miss the cropped profile.
      if (first + W_ROWS <= p.crop + k0 || first >= p.crop + k0 + p.outputlen + COLUMNS - 1) continue;
      // In round r window[W_UNROLL - 1 - r + j] = dlogits[row - tap0 - j]: newest first.
      const uint32_t at = COLUMNS - 1 - tap0;
      float window[10 + W_UNROLL - 1];
#pragma unroll
      for (uint32_t j = 0; j < 9; j++) window[j] = ds[at - 1 - j];
      for (uint32_t row = 0; row < W_ROWS; row += W_UNROLL) {
#pragma unroll
        for (uint32_t j = 9; j-- > 0;) window[j + W_UNROLL] = window[j];
#pragma unroll
        for (uint32_t r = 0; r < W_UNROLL; r++) window[W_UNROLL - 1 - r] = ds[at + row + r];
#pragma unroll
        for (uint32_t r = 0; r < W_UNROLL; r++) {
          const float4 low = load_vec<float4>(xs, (row + r) * CHANNELS + channel);
          const float4 high = load_vec<float4>(xs, (row + r) * CHANNELS + channel + CHANNELS / 2);
          const float v[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
          for (uint32_t j = 0; j < 10; j++) {
#pragma unroll
            for (uint32_t c = 0; c < 8; c++) sums[j][c] += window[W_UNROLL - 1 - r + j] * v[c];
          }
        }
      }
    }
#pragma unroll
    for (uint32_t j = 0; j < 8; j++) {
      const float feature = pooled[j] / (float)p.length;
      by_dense[j] += dlogcounts * feature;
      if (b < examples) features[j] += feature;
    }
  }

  const size_t base = (size_t)split * (p.width + 2);
#pragma unroll
  for (uint32_t run = 0; run < 2; run++) {
    const uint32_t c = of_two_runs(channel, 4 * run, CHANNELS);
    if (c >= here) break;
#pragma unroll
    for (uint32_t j = 0; j < 10; j++) {
      const uint32_t k = k0 + tap0 + j;
      if (k >= p.width) break;
      const float* sum = &sums[j][4 * run];
      store_vec(p.partials, (base + k) * p.channels + c0 + c, make_float4(sum[0], sum[1], sum[2], sum[3]));
    }
    if (pools) {
      const float* d = &by_dense[4 * run];
      const float* f = &features[4 * run];
      const size_t at = (base + p.width) * p.channels + c0 + c;
      store_vec(p.partials, at, make_float4(d[0], d[1], d[2], d[3]));
      store_vec(p.partials, at + p.channels, make_float4(f[0], f[1], f[2], f[3]));
    }
  }
}
