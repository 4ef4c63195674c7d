// head_input_gradient, head_weight_gradient: the heads' gradients for 16-bit feature maps, on tensor cores. head.cu has
// the mathematics, what goes in and out, and the f32 form.
//
// With d the loss's gradient by the logits, d[row - tap] is a Toeplitz matrix: its 8 x 8 blocks along a diagonal are
// the same. So 8 fragments of mma.sync, each in two parts (head_tensor.cuh), are all of a 64 x 80 matrix. Lanes read
// them as f32, out of L1; nothing of it goes through shared memory.
//
//   input        tile 128 rows x 64 channels, 4 warps of 64 x 32; g = lo hi + hi lo + hi hi of d and w, 80 taps at a
//                time. A block takes its weights apart once for 3 tiles of rows. One power of two for a warp's d,
//                one for the block's w
//   weights      tile 79 taps x 128 channels, 4 warps of 80 x 32, sliding along the rows; x as it is, 64 rows a
//                stage, 3 stages of 16 KB. The 80th row of the left side is ones: sums of x, of which the dense
//                layer's gradient and the features are made. One power of two for the d of a split; a split is a
//                run of examples
//   range        numbers of any size give what f32 gives, as long as those that meet in a warp's rows (in a split)
//                are within 2^16 of the largest for 22 bits of them, 2^38 for any, and the largest product above
//                2^-123. Infinity and NaN reach the flag
//   floor        B = 64, C = 512, L = 1074: input 33 us, weights 16 us at 4.3 TB/s (H200)
//   predicted    input 18.1 GFLOP, 30 us at the 600 TFLOP/s of mma.sync (H200), and 1800 instructions for a warp's
//                tile, more than half of them the end, 37 us at one a clock: 45 to 50 us. Weights 11.4 GFLOP, 19 us,
//                beside the loads: 25 to 30 us. FFMA is bound by 93 each
//   measured     unmeasured
//   registers    input 148 (3 blocks an SM), 202 from sm_100 on (2), weights 252 (2 blocks); no spills, no stack
//   tolerance    of the sum of a value's magnitudes, before its rounding to T: f16 1e-6, bf16 3.2e-5 (2^-15 of every
//                product); column sums 1e-5, bf16 1.5e-5, the weight gradient 5e-6, relative L2. Tensor cores cut what
//                does not fit while they add: 134 additions an example, 2^-24 of the sum each on average, at most
//                8e-6 and all towards zero
//   dropped      fragments put together at each use: 400 more instructions for a warp's tile, all moves (apart, in
//                prims.cuh). A power of two for each stage of the weight gradient: the sums would have to move with
//                it, for terms below 2^-24 of them
//   next         d of a tile taken apart once and not in each warp: in shared memory, 8 copies a shift apart for
//                ldmatrix, some 300 instructions less

#include "core/quad.cuh"
#include "head.cuh"
#include "head_tensor.cuh"
#include "step.cuh"

constexpr int THREADS = 128;
constexpr int WARPS = THREADS / WARP;

// Two neighbours of a row of the matrix, in two parts.
struct Parts {
  uint32_t hi, lo;
};

template <class T>
CBP_DEVICE Parts parts_of(float x, float y) {
  Parts parts;
  split2<T>(parts.hi, parts.lo, x, y);
  return parts;
}

// A lane's share of 16 x 16 of the matrix, as mma.sync takes its left side: 8 x 8 blocks of three diagonals, for the
// upper left block is the lower right one.
struct Fragment {
  uint32_t hi[4], lo[4];

  CBP_DEVICE void set(Parts back, Parts here, Parts ahead) {
    hi[0] = here.hi, lo[0] = here.lo;
    hi[1] = apart(back.hi), lo[1] = apart(back.lo);  // 8 rows down
    hi[2] = ahead.hi, lo[2] = ahead.lo;              // 8 columns right
    hi[3] = apart(here.hi), lo[3] = apart(here.lo);
  }
  CBP_DEVICE Parts ahead() const { return {hi[2], lo[2]}; }
};
constexpr int FRAGMENTS = 8;  // on different diagonals, of a warp's 64 x 80 or 80 x 64

// dlogits of one example, 0 outside.
struct Logits {
  Global<float> d;
  uint32_t n;

  CBP_DEVICE float operator()(int32_t at) const {
    if ((uint32_t)at >= n) return 0.0f;  // below zero: far above
    const float v = d[at];
    return v;
  }
};

// --------------------------------------------------------------------------------- input gradient

constexpr int ROWS = 128;
constexpr int CHANNELS = 64;
constexpr int TAP_CHUNK = 80;  // taps whose weights are in shared memory
constexpr int RUN = 3;         // tiles of rows of a block
constexpr int WARP_ROWS = 64;
constexpr int WARP_CHANNELS = 32;

template <class T>
struct Exponent;
template <>
struct Exponent<half_t> {
  static constexpr uint32_t LOWEST_BIT = 1 << 10;
};
template <>
struct Exponent<bf16_t> {
  static constexpr uint32_t LOWEST_BIT = 1 << 7;
};

// Bits 15 and 31: the low and the high value are infinite or NaN.
template <class T>
CBP_DEVICE uint32_t not_finite(uint32_t two) {
  // An exponent of ones carries into the place of the sign.
  return ((two & 0x7fff7fffu) + Exponent<T>::LOWEST_BIT * 0x10001u) & 0x80008000u;
}

template <class T>
struct TapWeights {
  using Part = StageTile<T, Major::MN, CHANNELS, TAP_CHUNK>;
  static_assert(reads_every_bank<Part>(), "no bank conflicts");
};

// Both parts of the weights of `taps` taps, from `w` on, and of the `here` channels that exist; zeros for others.
template <class T>
CBP_DEVICE void split_weights(Global<float> w, uint32_t channels, uint32_t taps, uint32_t here, float up) {
  using Part = typename TapWeights<T>::Part;
  each_chunk<Part, THREADS>([&](uint32_t k, uint32_t chunk) {
    const uint32_t c = chunk * Part::PER_CHUNK;
    uint32_t hi[4] = {}, lo[4] = {};
    if (k < taps && c < here) {
      const float4 a = load_vec<float4>(w, (size_t)k * channels + c);
      const float4 b = load_vec<float4>(w, (size_t)k * channels + c + 4);
      split2<T>(hi[0], lo[0], a.x * up, a.y * up);
      split2<T>(hi[1], lo[1], a.z * up, a.w * up);
      split2<T>(hi[2], lo[2], b.x * up, b.y * up);
      split2<T>(hi[3], lo[3], b.z * up, b.w * up);
    }
    const uint32_t at = Part::offset(k, chunk);
    store_vec(shared_at<uint32_t>(at), 0, make_uint4(hi[0], hi[1], hi[2], hi[3]));
    store_vec(shared_at<uint32_t>(Part::BYTES + at), 0, make_uint4(lo[0], lo[1], lo[2], lo[3]));
  });
}

// Blocks on a multiprocessor. ptxas takes more registers from sm_100 on and spills at three.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int INPUT_BLOCKS = 2;
#else
constexpr int INPUT_BLOCKS = 3;
#endif

template <class T>
CBP_DEVICE void head_input_gradient(const HeadInputGradient& p) {
  using Part = typename TapWeights<T>::Part;
  const uint32_t c0 = blockIdx.x * CHANNELS, b = blockIdx.z;
  const uint32_t here = p.channels - c0 < CHANNELS ? p.channels - c0 : CHANNELS;  // 32 or 64
  const uint32_t tiles = (p.length + ROWS - 1) / ROWS;
  const uint32_t begin = blockIdx.y * RUN, end = begin + RUN < tiles ? begin + RUN : tiles;
  const uint32_t warp_m = warp() / 2, c_warp = warp() % 2 * WARP_CHANNELS;
  const uint32_t g = lane() / 4, q = lane() % 4;
  const bool has_channels = c_warp < here;
  const Shared<float> column = shared_at<float>(2 * Part::BYTES);  // [2 tiles in turns][2 warps][CHANNELS]
  const Shared<uint32_t> of_warps = shared_at<uint32_t>(2 * Part::BYTES + 4 * CHANNELS * 4);

  const Global<float> w = p.w + c0;
  uint32_t largest = 0;
  for (uint32_t i = threadIdx.x; i < p.width * (CHANNELS / 4); i += THREADS) {
    const uint32_t k = i / (CHANNELS / 4), c = i % (CHANNELS / 4) * 4;
    if (c >= here) continue;
    const float4 v = load_vec<float4>(w, (size_t)k * p.channels + c);
    largest = larger(largest, larger(larger(magnitude(v.x), magnitude(v.y)), larger(magnitude(v.z), magnitude(v.w))));
  }
  const Power of_w(largest_of_block<WARPS>(largest, of_warps));

  const Logits d{p.dlogits + (size_t)b * p.outputlen, p.outputlen};
  const float dlogcounts = p.dlogcounts[b];
  const float scale = dlogcounts / (float)p.length;
  bool overflow = false;
  uint32_t loaded = ~0u;  // first tap of the weights in shared memory
  for (uint32_t tile = begin; tile < end; tile++) {
    const uint32_t first = tile * ROWS + warp_m * WARP_ROWS;  // row of this warp
    // d[base - i] meets tap i in the first row.
    const int32_t base = (int32_t)first - (int32_t)p.crop;
    // Those that taps beyond the last meet, of weight zero, count too: they must not become infinite.
    const uint32_t reach = WARP_ROWS - 1 + (p.width + TAP_CHUNK - 1) / TAP_CHUNK * TAP_CHUNK;
    largest = 0;
    for (uint32_t i = lane(); i < reach; i += FULL_WARP) {
      largest = larger(largest, magnitude(d(base + WARP_ROWS - 1 - (int32_t)i)));
    }
    largest = largest_of_warp(largest);
    const Power of_d(largest);
    const bool works = has_channels && largest > 0;

    float sums[WARP_ROWS / 16][4][4] = {};
    for (uint32_t k0 = 0; k0 < p.width; k0 += TAP_CHUNK) {
      const uint32_t taps = p.width - k0 < TAP_CHUNK ? p.width - k0 : TAP_CHUNK;
      if (loaded != k0) {
        block_sync();  // the last weights are used up
        split_weights<T>(w + (size_t)k0 * p.channels, p.channels, taps, here, of_w.up);
        loaded = k0;
        block_sync();
      }
      if (!works) continue;
      // Fragment i begins where tap - row = 16 (i - 3); each 16 taps need one that the last ones did not.
      auto diagonal = [&](int m) {
        const int32_t at = base - (int32_t)k0 - 8 * m + (int32_t)g - 2 * (int32_t)q;
        return parts_of<T>(d(at) * of_d.up, d(at - 1) * of_d.up);
      };
      Fragment fragments[FRAGMENTS];
      Parts edge = diagonal(-7);
      auto set = [&](int i) {
        const int m = 2 * (i - 3);
        fragments[i].set(edge, diagonal(m), diagonal(m + 1));
        edge = fragments[i].ahead();
      };
#pragma unroll
      for (int i = 0; i < 3; i++) set(i);
#pragma unroll
      for (int k = 0; k < TAP_CHUNK; k += 16) {
        if (k >= (int)taps) break;
        set(k / 16 + 3);
        uint32_t hi[2][4], lo[2][4];
#pragma unroll
        for (int j = 0; j < 2; j++) {
          load_block<Role::B, Part>(hi[j], 0, c_warp + 16 * j, k);
          load_block<Role::B, Part>(lo[j], Part::BYTES, c_warp + 16 * j, k);
        }
        auto multiply = [&](const uint32_t (Fragment::* part)[4], const uint32_t (&v)[2][4]) {
#pragma unroll
          for (int i = 0; i < WARP_ROWS / 16; i++) {
#pragma unroll
            for (int j = 0; j < 4; j++) {
              mma_16816<T>(sums[i][j], fragments[k / 16 - i + 3].*part, v[j / 2][j % 2 * 2], v[j / 2][j % 2 * 2 + 1]);
            }
          }
        };
        // small terms first, where they lose least
        multiply(&Fragment::lo, hi);
        multiply(&Fragment::hi, lo);
        multiply(&Fragment::hi, hi);
      }
    }

    const uint32_t turn = tile % 2 * 2 * CHANNELS;
    if (has_channels) {
      const float down = of_w.down * of_d.down;
      float dense[8], by_bias[8] = {};
      load_row<float>(dense, p.dense, c0 + c_warp, true);
#pragma unroll
      for (int j = 0; j < 8; j++) dense[j] *= scale;
      const size_t place = ((size_t)b * p.length + first + g) * p.channels + c0 + c_warp;
      const Global<uint32_t> masks = p.mask + place / 32;
      const Global<T> g_to = p.g.template as<T>() + (place + 8 * q), dz_to = p.dz.template as<T>() + (place + 8 * q);
#pragma unroll
      for (int i = 0; i < WARP_ROWS / 16; i++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const uint32_t row = 16 * i + 8 * half, further = row * p.channels;
          const bool valid = first + g + row < p.length;
          const uint32_t mask = valid ? (uint32_t)masks[further / 32] : 0;
          uint32_t words[4], bad = 0;
#pragma unroll
          for (int j = 0; j < 4; j++) {
            const float low = sums[i][j][2 * half] * down + dense[2 * j];
            const float high = sums[i][j][2 * half + 1] * down + dense[2 * j + 1];
            words[j] = pack2<T>(low, high);
            bad |= not_finite<T>(words[j]);
            if (mask >> (8 * j + 2 * q) & 1) by_bias[2 * j] += low;
            if (mask >> (8 * j + 2 * q + 1) & 1) by_bias[2 * j + 1] += high;
          }
          overflow |= valid && bad;
          transpose_quad(words);  // now 8 channels on end, from 8 q on
          if (p.g && valid) {
            store_vec(g_to, further, make_uint4(words[0], words[1], words[2], words[3]));
          }
          const uint32_t byte = mask >> (8 * q);
#pragma unroll
          for (int j = 0; j < 4; j++) {
            const uint32_t bits = byte >> (2 * j);
            words[j] &= ((bits & 1) | (bits & 2) << 15) * 0xffffu;
          }
          if (valid) store_vec(dz_to, further, make_uint4(words[0], words[1], words[2], words[3]));
        }
      }
#pragma unroll
      for (int j = 0; j < 8; j++) {
#pragma unroll
        for (int other = 4; other < WARP; other *= 2) by_bias[j] += shfl_xor(by_bias[j], other);
        if (lane() < 4) column[turn + warp_m * CHANNELS + c_warp + 8 * (j / 2) + 2 * q + j % 2] = by_bias[j];
      }
    }
    block_sync();
    if (threadIdx.x < here) {
      const float upper = column[turn + threadIdx.x], lower = column[turn + CHANNELS + threadIdx.x];
      p.column_sums[((size_t)b * tiles + tile) * p.channels + c0 + threadIdx.x] = upper + lower;
    }
  }
  if (overflow) atomic_or(p.overflow, 1);
}

CBP_KERNEL(head_input_gradient_f16, HeadInputGradient, THREADS, INPUT_BLOCKS) { head_input_gradient<half_t>(p); }
CBP_KERNEL(head_input_gradient_bf16, HeadInputGradient, THREADS, INPUT_BLOCKS) { head_input_gradient<bf16_t>(p); }

// -------------------------------------------------------------------------------- weight gradient

constexpr int W_TAPS = 79;      // of a tile, and a row of ones
constexpr int W_FRAGMENTS = 5;  // of 16 of these
constexpr int W_CHANNELS = 128;
constexpr int W_ROWS = 64;  // of a stage
constexpr int W_STAGES = 3;
constexpr int W_NEW = W_ROWS / 16;  // fragments of a stage that the last one did not have
constexpr int W_OLD = FRAGMENTS - W_NEW;
constexpr int LAST = W_FRAGMENTS - 1;  // where the ones are
static_assert(W_OLD == LAST, "of the rows before a stage, those that its taps reach");

template <class T>
struct Rows {
  using Stage = StageTile<T, Major::MN, W_CHANNELS, W_ROWS>;
  static_assert(reads_every_bank<Stage>(), "no bank conflicts");
};

template <class T>
CBP_DEVICE void head_weight_gradient(const HeadWeightGradient& p) {
  using Stage = typename Rows<T>::Stage;
  const uint32_t c0 = blockIdx.x * W_CHANNELS, k0 = blockIdx.y * W_TAPS, split = blockIdx.z;
  const uint32_t here = p.channels - c0 < W_CHANNELS ? p.channels - c0 : W_CHANNELS;
  const uint32_t c_warp = warp() * WARP_CHANNELS, g = lane() / 4, q = lane() % 4;
  const bool has_channels = c_warp < here;
  const bool ones = g == 7;  // this lane's second row of the last fragment
  const Global<T> x = p.x.template as<T>() + c0;

  const uint32_t examples = member(p.state, &StepState::examples)[0];
  const uint32_t begin = (uint32_t)((uint64_t)split * p.batch / gridDim.z);
  const uint32_t end = (uint32_t)((uint64_t)(split + 1) * p.batch / gridDim.z);
  uint32_t largest = 0;
  for (size_t i = (size_t)begin * p.outputlen + threadIdx.x; i < (size_t)end * p.outputlen; i += THREADS) {
    const float d = p.dlogits[i];
    largest = larger(largest, magnitude(d));
  }
  const Power of_d(largest_of_block<WARPS>(largest, shared_at<uint32_t>(W_STAGES * Stage::BYTES)));

  // Steps go through the rows of an example, then of the next.
  struct Place {
    uint32_t b, first;
    CBP_DEVICE void advance(uint32_t length) {
      first += W_ROWS;
      if (first >= length) first = 0, b++;
    }
  };
  Place copied{begin, 0}, multiplied{begin, 0};
  auto copy = [&](uint32_t, uint32_t stage) {
    each_chunk<Stage, THREADS>([&](uint32_t row, uint32_t chunk) {
      const uint32_t t = copied.first + row, c = chunk * Stage::PER_CHUNK;
      cp_async16(shared_at<T>(stage * Stage::BYTES + Stage::offset(row, chunk)).address(),
                 x + (((size_t)copied.b * p.length + t) * p.channels + c), t < p.length && c < here);
    });
    copied.advance(p.length);
  };

  // The diagonals that a stage adds, one stage early: i of them begins where row - tap = 8 i.
  float next[2 * W_NEW][2];
  auto load = [&](Place at) {
    const Logits d{p.dlogits + (size_t)at.b * p.outputlen, at.b < end ? p.outputlen : 0};
#pragma unroll
    for (int i = 0; i < 2 * W_NEW; i++) {
      const int32_t from = (int32_t)at.first - (int32_t)(p.crop + k0) + 8 * i + 2 * (int32_t)q - (int32_t)g;
      next[i][0] = d(from);
      next[i][1] = d(from + 1);
    }
  };
  load(multiplied);

  float sums[W_FRAGMENTS][4][4] = {};
  float by_dense[4][2] = {}, features[4][2] = {};
  Fragment fragments[FRAGMENTS] = {};
  auto multiply = [&](uint32_t, uint32_t stage) {
    const Place at = multiplied;
    multiplied.advance(p.length);
    // Fragment i begins where row - tap = 16 (i - W_OLD). No row before the first has a tap.
#pragma unroll
    for (int i = 0; i < W_OLD; i++) fragments[i] = at.first > 0 ? fragments[i + W_NEW] : Fragment{};
    Parts edge = fragments[W_OLD - 1].ahead();
#pragma unroll
    for (int i = 0; i < W_NEW; i++) {
      const float (&pair)[2] = next[2 * i], (&other)[2] = next[2 * i + 1];
      const Parts here = parts_of<T>(pair[0] * of_d.up, pair[1] * of_d.up);
      fragments[W_OLD + i].set(edge, here, parts_of<T>(other[0] * of_d.up, other[1] * of_d.up));
      edge = fragments[W_OLD + i].ahead();
    }
    load(multiplied);
    if (!has_channels) return;
    // Whether some row and tap meet in the cropped profile.
    const bool in_profile =
        at.first + W_ROWS > p.crop + k0 && at.first < p.crop + k0 + p.outputlen + W_TAPS - 1;
#pragma unroll
    for (int r = 0; r < W_ROWS; r += 16) {
      uint32_t v[2][4];
#pragma unroll
      for (int j = 0; j < 2; j++) load_block<Role::B, Stage>(v[j], stage * Stage::BYTES, c_warp + 16 * j, r);
      auto add = [&](int i, const uint32_t (&a)[4]) {
#pragma unroll
        for (int j = 0; j < 4; j++) mma_16816<T>(sums[i][j], a, v[j / 2][j % 2 * 2], v[j / 2][j % 2 * 2 + 1]);
      };
      Fragment last = fragments[r / 16];
      last.hi[1] = ones ? pack2<T>(1.0f, 1.0f) : last.hi[1];
      last.hi[3] = ones ? pack2<T>(1.0f, 1.0f) : last.hi[3];
      last.lo[1] = ones ? 0 : last.lo[1];
      last.lo[3] = ones ? 0 : last.lo[3];
      if (in_profile) {
#pragma unroll
        for (int i = 0; i < LAST; i++) add(i, fragments[r / 16 - i + W_OLD].lo);
        add(LAST, last.lo);
#pragma unroll
        for (int i = 0; i < LAST; i++) add(i, fragments[r / 16 - i + W_OLD].hi);
      }
      add(LAST, last.hi);
    }
    if (at.first + W_ROWS < p.length) return;
    // The example's sums of x.
    const float dlogcounts = p.dlogcounts[at.b];
#pragma unroll
    for (int j = 0; j < 4; j++) {
#pragma unroll
      for (int e = 0; e < 2; e++) {
        const float feature = sums[LAST][j][2 + e] / (float)p.length;
        by_dense[j][e] += dlogcounts * feature;
        if (at.b < examples) features[j][e] += feature;
        if (ones) sums[LAST][j][2 + e] = 0.0f;
      }
    }
  };
  const uint32_t stages = (p.length + W_ROWS - 1) / W_ROWS;
  ring<W_STAGES>((end - begin) * stages, copy, multiply);

  if (!has_channels) return;
  const size_t base = (size_t)split * (p.width + 2);
#pragma unroll
  for (int j = 0; j < 4; j++) {
    const uint32_t c = c0 + c_warp + 8 * j + 2 * q;
#pragma unroll
    for (int i = 0; i < W_FRAGMENTS; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const uint32_t tap = 16 * i + 8 * half + g;
        if (tap >= W_TAPS || k0 + tap >= p.width) continue;
        const float2 sum = make_float2(sums[i][j][2 * half] * of_d.down, sums[i][j][2 * half + 1] * of_d.down);
        store_vec(p.partials, (base + k0 + tap) * p.channels + c, sum);
      }
    }
    if (ones && blockIdx.y == 0) {
      const size_t at = (base + p.width) * p.channels + c;
      store_vec(p.partials, at, make_float2(by_dense[j][0], by_dense[j][1]));
      store_vec(p.partials, at + p.channels, make_float2(features[j][0], features[j][1]));
    }
  }
}

CBP_KERNEL(head_weight_gradient_f16, HeadWeightGradient, THREADS, 2) { head_weight_gradient<half_t>(p); }
CBP_KERNEL(head_weight_gradient_bf16, HeadWeightGradient, THREADS, 2) { head_weight_gradient<bf16_t>(p); }
