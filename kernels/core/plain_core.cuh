// The plain core: f32 multiply-adds on the CUDA cores, no asynchronous copies, no permuted layouts.
// The reference that the tensor-core kernels are compared with on a GPU, and the f32 path of the
// emulator, where few threads with much work each are what is cheap.
//
// Same face as TensorCore. A block of 64 threads owns 128 x 32 of D: a warp 64 rows, a lane 8 rows
// on end and the 8 columns that quad.cuh gives it.
#pragma once
#include "tile.cuh"

template <Major MAJOR_A, Major MAJOR_B>
struct PlainCore {
  using Element = float;
  static constexpr int M = 128, N = 32, K = 32;
  static constexpr int WARPS_M = 2, THREADS = WARPS_M * WARP;
  static constexpr int ROWS = 8, COLUMNS = 8;  // of a thread
  static_assert(M == WARPS_M * 8 * ROWS && N == 4 * COLUMNS, "eight quads a warp");

  // Only their shape is used: it says which chunks a thread copies (operands.cuh).
  using A = StageTile<float, MAJOR_A, M, K>;
  using B = StageTile<float, MAJOR_B, N, K>;

  // Shared memory holds A as [k][m] and B as [k][n], rows 4 floats longer so that the transposing
  // stores of K-major operands spread over the banks.
  static constexpr int PITCH_A = M + 4, PITCH_B = N + 4;
  static constexpr int BYTES_A = K * PITCH_A * int(sizeof(float));
  static constexpr int SHARED_BYTES = BYTES_A + K * PITCH_B * int(sizeof(float));

  struct Sums {
    float d[ROWS][COLUMNS];
  };

  template <class Operands>
  static CBP_DEVICE void accumulate(Sums& sums, Operands& operands, uint32_t steps) {
    for (uint32_t step = 0; step < steps; step++) {
      operands.next(Put<A, PITCH_A>{0}, Put<B, PITCH_B>{BYTES_A});
      block_sync();
      multiply(sums);
      block_sync();
    }
  }

  template <class Epilogue>
  static CBP_DEVICE void each_row(const Sums& sums, Epilogue& epilogue, uint32_t m0, uint32_t n0) {
    epilogue.begin(n0);
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
      float v[COLUMNS];
#pragma unroll
      for (int j = 0; j < COLUMNS; j++) v[j] = sums.d[i][j];
      epilogue.row(m0 + first_row() + i, n0, v);
    }
    epilogue.end(warp(), 0);
  }

 private:
  static CBP_DEVICE uint32_t first_row() { return (warp() * 8 + lane() / 4) * ROWS; }

  template <class Stage, int PITCH>
  struct Put {
    uint32_t base;
    template <class Part>
    CBP_DEVICE void operator()(const Part& part, int i, Global<const float> source,
                               bool valid) const {
      const uint32_t row = part.row_of(i), column = part.column();
      const float4 v = valid ? load_vec<float4>(source, 0) : make_float4(0.f, 0.f, 0.f, 0.f);
      const Shared<float> to = shared_at<float>(base);
      if constexpr (Stage::MAJOR == Major::MN) {
        store_vec(to, row * PITCH + column, v);
      } else {
        to[column * PITCH + row] = v.x;
        to[(column + 1) * PITCH + row] = v.y;
        to[(column + 2) * PITCH + row] = v.z;
        to[(column + 3) * PITCH + row] = v.w;
      }
    }
  };

  static CBP_DEVICE void multiply(Sums& sums) {
    const Shared<float> a = shared_at<float>(0), b = shared_at<float>(BYTES_A);
    const uint32_t m = first_row(), q = lane() & 3;
    for (int k = 0; k < K; k++) {
      float x[ROWS], w[COLUMNS];
#pragma unroll
      for (int i = 0; i < ROWS; i += 4) {
        const float4 v = load_vec<float4>(a, k * PITCH_A + m + i);
        x[i] = v.x, x[i + 1] = v.y, x[i + 2] = v.z, x[i + 3] = v.w;
      }
#pragma unroll
      for (int j = 0; j < COLUMNS; j += 2) {
        const float2 v = load_vec<float2>(b, k * PITCH_B + 4 * j + 2 * q);
        w[j] = v.x, w[j + 1] = v.y;
      }
#pragma unroll
      for (int i = 0; i < ROWS; i++)
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) sums.d[i][j] += x[i] * w[j];
    }
  }
};
