// int8_forward: dilated_forward for predictions, products of bytes
//   z[n,l,o] = bias[o] + sum_t s[n,l+t*d] * v[t,o] * (sum_i q[n,l+t*d,i] * w[t,o,i]),  t = 0..2, 'valid'
//   y[n,l,o] = max(z, 0) + x[n,l+d,o]
// in   q u8 [B, L, K], s f32 [B, L] (quantize.cu)   w s8 [3, K, K], v f32 [3, C]   bias f32 [C]   x half [B, L, C]
// out  y half [B, L-2d, C]      sums s32 within a tap, exact; f32 over taps, in order
//      C a multiple of 32; K: C rounded up to 64, zeros from C on
// source: official model layer bpnet_{i}conv with its crop and add, on quantized operands.
// reference: tests/suite/kernels/int8.rs (exact), engine/cpu/dilated.rs (what the quantization costs)
//
// The residual stream stays in half, and bytes are made of it anew before each layer. A scale for every tap and output
// channel, which is never coarser than one for the channel and free: the taps' sums are weighted one by one anyway.
//
//   tile          value                    reason
//   block         128 rows x N             N = 128 (8 warps), 64 or 32 (4 warps), dividing C
//   warp          64 x 32; N = 32: 32 x 32    64 sums of a tap and 64 of all taps a thread
//   k step        64 channels of one tap   64 bytes; hence K
//   stages        4 of 16, 3 of 12, 4 of 10 KB    behind them the scales of the tile's rows and columns, 3 KB at most
//   grid          row tiles x C/N          as dilated_forward
//
//   At 512 filters, batch 64:
//   roofline      layer 1: 210 GOP, 343 MB (q 69, x 137, y 137) -> 613 OP/B: compute bound
//   floor         layers 1-8: 0.75 ms at 1,979 TOP/s (H200, data sheet; at the share of it that 790 TFLOP/s are in f16,
//                 1,580 TOP/s, 0.94 ms), 2.38 ms at 624 TOP/s (A100, data sheet); memory 0.57 ms at 4.3 TB/s (H200)
//   predicted     at A100's full rate warps read 96 and copies write 32 bytes of shared memory a clock, of 128: 70-75 %
//                 of that rate, 3.2-3.4 ms. Sums become floats on a slow pipe of sm_80 (48 K a tile, 16 a clock, a
//                 quarter of a tile's clocks), which must hide behind other warps' products. With quantize, 0.8-1.0 ms:
//                 4.0-4.4 ms against 5.9-6.8 ms of dilated_forward in f16, 1.4 to 1.6 times as fast. On H200 shared
//                 memory ends it at some 950 TOP/s (1.755 GHz), hence hopper_int8_forward
//   measured      unmeasured
//   registers     N =  128     64     32
//                      206    212    128
//                 the most of sm_80, 86, 89, 90, 100, 120, nvcc 13.0; no spills, no stack
//   tolerance     relative L2 3e-4 against exact sums of its operands (one rounding of y); what bytes cost a layer's
//                 output is at most 5e-3, see tests/suite/kernels/int8.rs; predictions: benches/int8_gate.rs

#include "core/epilogue.cuh"
#include "core/passes.cuh"

struct Int8ForwardArgs {
  Global<const uint8_t> q;           // [B, L_in, K]
  Global<const float> row_scale;     // [B, L_in]
  Global<const uint8_t> weights;     // s8 [3, K, K], tap, out, in
  Global<const float> weight_scale;  // [3, C]
  Global<const float> bias;          // [C]
  Global<const half_t> x;            // [B, L_in, C]
  Global<half_t> y;                  // [B, L_out, C]
  RowMap map;                        // rows of y, seen from x
  uint32_t dilation;
  uint32_t channels;
  uint32_t depth;  // K
};

template <int N>
using Int8Core = TensorCore<MathInt8, N, Major::K, Major::K, N == 128 ? 8 : 4, N == 64 ? 3 : 4>;

// The scales of a tile's rows and columns at each tap, in shared memory behind the ring of stages.
template <class Core>
struct Scales {
  static constexpr uint32_t ROWS = Core::SHARED_BYTES;
  static constexpr uint32_t COLUMNS = ROWS + TAPS * Core::M * 4;

  // The barrier of the main loop's first step lies between this and `weigh`.
  static CBP_DEVICE void fetch(const Int8ForwardArgs& p, const TilePlace& tile) {
    const Shared<float> rows = shared_at<float>(ROWS), columns = shared_at<float>(COLUMNS);
    for (uint32_t i = threadIdx.x; i < TAPS * Core::M; i += Core::THREADS) {
      const uint32_t tap = i / Core::M, m = tile.m0 + i % Core::M;
      float scale = 0.f;
      if (m < p.map.rows) scale = p.row_scale[p.map.place(m).row(int32_t(tap * p.dilation))];
      rows[i] = scale;
    }
    for (uint32_t i = threadIdx.x; i < TAPS * Core::N; i += Core::THREADS) {
      const float scale = p.weight_scale[i / Core::N * p.channels + tile.n0 + i % Core::N];
      columns[i] = scale;
    }
  }

  // total += what `sums` of a tap stand for.
  static CBP_DEVICE void weigh(typename Core::template Fragments<float>& total,
                               const typename Core::Sums& sums, uint32_t tap) {
    const Shared<float> rows = shared_at<float>(ROWS), columns = shared_at<float>(COLUMNS);
    const uint32_t row = tap * Core::M + Core::warp_m() * Core::WARP_M + lane() / 4;
    const uint32_t column = tap * Core::N + Core::warp_n() * Core::WARP_N + 2 * (lane() & 3);
    float2 of_columns[Core::FRAGMENTS_N];
#pragma unroll
    for (int j = 0; j < Core::FRAGMENTS_N; j++) of_columns[j] = load_vec<float2>(columns, column + 8 * j);
#pragma unroll
    for (int i = 0; i < Core::FRAGMENTS_M; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float of_row = rows[row + 16 * i + 8 * half];
#pragma unroll
        for (int j = 0; j < Core::FRAGMENTS_N; j++) {
          float(&to)[4] = total.d[i][j];
          const int32_t(&from)[4] = sums.d[i][j];
          to[2 * half] = fmaf(of_row * of_columns[j].x, float(from[2 * half]), to[2 * half]);
          to[2 * half + 1] =
              fmaf(of_row * of_columns[j].y, float(from[2 * half + 1]), to[2 * half + 1]);
        }
      }
    }
  }
};

template <class Core>
CBP_DEVICE void int8_forward(const Int8ForwardArgs& p) {
  const TilePlace tile = tile_place<Core>(p.channels);
  Scales<Core>::fetch(p, tile);

  TapOperands<Core> operands{
      {p.q, p.depth, p.map, int32_t(p.dilation), tile.m0},
      {p.weights, p.depth, tile.n0},
      {7u, p.depth},  // all taps
  };
  typename Core::Sums sums = {};
  typename Core::template Fragments<float> total = {};
  const uint32_t steps = p.depth / Core::K;  // of a tap
  uint32_t step = 0, tap = 0;
  Core::accumulate(sums, operands, TAPS * steps, [&] {
    if (++step < steps) return;
    Scales<Core>::weigh(total, sums, tap++);
    sums = {};
    step = 0;
  });

  const Global<uint32_t> no_mask{};
  BiasReluResidual<half_t> epilogue{p.x, p.bias, p.y, no_mask, p.map, p.channels, int32_t(p.dilation), {}};
  Core::each_row(total, epilogue, tile.m0, tile.n0);
}

CBP_KERNEL(int8_forward_n128, Int8ForwardArgs, 256, 1) { int8_forward<Int8Core<128>>(p); }
CBP_KERNEL(int8_forward_n64, Int8ForwardArgs, 128, 2) { int8_forward<Int8Core<64>>(p); }
CBP_KERNEL(int8_forward_n32, Int8ForwardArgs, 128, 4) { int8_forward<Int8Core<32>>(p); }
