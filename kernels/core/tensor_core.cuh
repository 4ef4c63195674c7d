// The portable core, sm_80 and up: a ring of STAGES stages in shared memory, filled by cp.async
// STAGES - 1 steps ahead, multiplied by mma.sync out of ldmatrix fragments.
//
// A core is a type with its geometry (M, N, K, THREADS, the stages A and B), its accumulators
// `Sums`, the main loop `accumulate` and the walk over the result `each_row`; kernels are templates
// over it.
#pragma once
#include "math.cuh"
#include "ring.cuh"

template <class Math, int N_, Major MAJOR_A, Major MAJOR_B, int... WARPS_AND_STAGES>
struct TensorCore : Tile<Math, N_, MAJOR_A, MAJOR_B, WARPS_AND_STAGES...> {
  using Shape = Tile<Math, N_, MAJOR_A, MAJOR_B, WARPS_AND_STAGES...>;
  using Shape::FRAGMENTS_M;
  using Shape::FRAGMENTS_N;
  using typename Shape::A;
  using typename Shape::B;
  using typename Shape::Sums;
  template <class T>
  using Fragments = typename Shape::template Fragments<T>;

  static CBP_DEVICE uint32_t warp_m() { return warp() / Shape::WARPS_N; }
  static CBP_DEVICE uint32_t warp_n() { return warp() % Shape::WARPS_N; }

  // sums += A * B over `steps` steps of k. `operands.next(..)` puts the stage of the next step.
  template <class Operands>
  static CBP_DEVICE void accumulate(Sums& sums, Operands& operands, uint32_t steps) {
    accumulate(sums, operands, steps, [] {});
  }

  // The same; after each step's product it calls `after()`, while later stages are on their way.
  template <class Operands, class After>
  static CBP_DEVICE void accumulate(Sums& sums, Operands& operands, uint32_t steps, After after) {
    ring<Shape::STAGES>(
        steps, [&](uint32_t, uint32_t stage) { copy(operands, stage); },
        [&](uint32_t, uint32_t stage) {
          multiply(sums, stage * Shape::STAGE_BYTES);
          after();
        });
  }

  // epilogue.row(m, column, v) for every row m and 32 columns of the tile at (m0, n0), in the
  // layout of quad.cuh; begin(column) and end(column - n0) around the rows of 32 columns.
  template <class Epilogue>
  static CBP_DEVICE void each_row(const Fragments<float>& sums, Epilogue& epilogue, uint32_t m0,
                                  uint32_t n0) {
    const uint32_t row0 = m0 + warp_m() * Shape::WARP_M + lane() / 4;
#pragma unroll
    for (int group = 0; group < FRAGMENTS_N / 4; group++) {
      const uint32_t column = warp_n() * Shape::WARP_N + 32 * group;
      epilogue.begin(n0 + column);
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; i++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          float v[8];
#pragma unroll
          for (int j = 0; j < 4; j++) {
            v[2 * j] = sums.d[i][4 * group + j][2 * half];
            v[2 * j + 1] = sums.d[i][4 * group + j][2 * half + 1];
          }
          epilogue.row(row0 + 16 * i + 8 * half, n0 + column, v);
        }
      }
      epilogue.end(warp_m(), column);
    }
  }

 private:
  template <class Stage>
  struct Put {
    uint32_t stage;
    template <class Part>
    CBP_DEVICE void operator()(const Part& part, int i,
                               Global<const typename Stage::Element> source, bool valid) const {
      const uint32_t at = stage + part.offset_of(i);
      cp_async16(shared_at<typename Stage::Element>(at).address(), source, valid);
    }
  };

  template <class Operands>
  static CBP_DEVICE void copy(Operands& operands, uint32_t stage) {
    const uint32_t at = stage * Shape::STAGE_BYTES;
    operands.next(Put<A>{at}, Put<B>{at + A::BYTES});
  }

  static CBP_DEVICE void multiply(Sums& sums, uint32_t stage) {
    const uint32_t m0 = warp_m() * Shape::WARP_M, n0 = warp_n() * Shape::WARP_N;
#pragma unroll
    for (int k = 0; k < Shape::K; k += Math::K) {
      typename Math::Block a[FRAGMENTS_M], b[FRAGMENTS_N / 2];
#pragma unroll
      for (int j = 0; j < FRAGMENTS_N / 2; j++)
        Math::template load<Role::B, B>(b[j], stage + A::BYTES, n0 + 16 * j, k);
#pragma unroll
      for (int i = 0; i < FRAGMENTS_M; i++) {
        Math::template load<Role::A, A>(a[i], stage, m0 + 16 * i, k);
#pragma unroll
        for (int j = 0; j < FRAGMENTS_N; j += 2)
          Math::multiply(sums.d[i][j], sums.d[i][j + 1], a[i], b[j / 2]);
      }
    }
  }
};
