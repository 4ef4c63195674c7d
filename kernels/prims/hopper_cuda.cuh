// prims of Hopper on the GPU: PTX for sm_90a and nothing else. See hopper.cuh for what each means.
#pragma once
#include "cuda.cuh"

#define CBP_CLUSTER_KERNEL(name, Args, THREADS, CLUSTER) \
  CBP_ENTRY(name, Args, __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(THREADS, 1))

// ---- clusters

CBP_DEVICE uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
CBP_DEVICE void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

template <int REGISTERS> CBP_DEVICE void registers_give() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS> CBP_DEVICE void registers_take() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

// ---- mbarriers

struct Mbarrier {
  uint32_t address;

  CBP_DEVICE void init(uint32_t arrivals) const {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address), "r"(arrivals) : "memory");
  }
  CBP_DEVICE void arrive() const {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address) : "memory");
  }
  CBP_DEVICE void arrive_at(uint32_t rank) const {
    asm volatile(
        "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
        "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];\n}" ::"r"(address),
        "r"(rank)
        : "memory");
  }
  CBP_DEVICE void expect(uint32_t bytes) const {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address), "r"(bytes) : "memory");
  }
  CBP_DEVICE void wait(uint32_t parity) const {
    asm volatile(
        "{\n.reg .pred over;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n"
        "@over bra OVER;\nbra AGAIN;\nOVER:\n}" ::"r"(address),
        "r"(parity)
        : "memory");
  }
};
CBP_DEVICE Mbarrier mbarrier_at(uint32_t byte_offset) { return Mbarrier{shared_at<uint64_t>(byte_offset).address()}; }

CBP_DEVICE void fence_barrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async.shared::cta;" ::: "memory");
}
CBP_DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// ---- bulk copies

struct alignas(64) TensorMap {
  uint64_t words[16];
};

CBP_DEVICE void load_positions(uint32_t to, const TensorMap& map, Mbarrier barrier, int32_t c, int32_t l, int32_t n,
                               uint32_t offset) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4}], [%5], {%6};" ::"r"(to),
      "l"(&map), "r"(c), "r"(l), "r"(n), "r"(barrier.address), "h"(static_cast<uint16_t>(offset))
      : "memory");
}
CBP_DEVICE void load_rows(uint32_t to, const TensorMap& map, Mbarrier barrier, int32_t c, int32_t row, uint32_t ranks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(&map), "r"(c), "r"(row), "r"(barrier.address), "h"(static_cast<uint16_t>(ranks))
      : "memory");
}
CBP_DEVICE void store_rows(const TensorMap& map, uint32_t from, int32_t c, int32_t row) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(&map), "r"(c),
               "r"(row), "r"(from)
               : "memory");
}
CBP_DEVICE void store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int N> CBP_DEVICE void store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

// ---- matrices

CBP_DEVICE void stmatrix_x4(uint32_t address, const uint32_t (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address), "r"(r[0]), "r"(r[1]),
               "r"(r[2]), "r"(r[3])
               : "memory");
}

CBP_DEVICE uint64_t swizzled_operand(uint32_t address, uint32_t leading) {
  return static_cast<uint64_t>((address & 0x3FFFF) >> 4) | static_cast<uint64_t>(leading >> 4) << 16 |
         static_cast<uint64_t>(1024 >> 4) << 32 | uint64_t{1} << 62;
}

CBP_DEVICE void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
CBP_DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> CBP_DEVICE void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
// Keeps the compiler from moving accumulators, which it takes for plain registers, across this place.
template <int N> CBP_DEVICE void hold(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int N> CBP_DEVICE void hold(int32_t (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+r"(d[i])::"memory");
}

#define CBP_REGISTERS_64 \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define CBP_REGISTERS_128 \
  CBP_REGISTERS_64        \
  ", "                    \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
// In registers of kind "+f" or "+r".
#define CBP_SUMS_8(in, i) \
  in(d[i]), in(d[i + 1]), in(d[i + 2]), in(d[i + 3]), in(d[i + 4]), in(d[i + 5]), in(d[i + 6]), in(d[i + 7])
#define CBP_SUMS_32(in, i) CBP_SUMS_8(in, i), CBP_SUMS_8(in, i + 8), CBP_SUMS_8(in, i + 16), CBP_SUMS_8(in, i + 24)
#define CBP_SUMS_64(in) CBP_SUMS_32(in, 0), CBP_SUMS_32(in, 32)
#define CBP_SUMS_128(in) CBP_SUMS_64(in), CBP_SUMS_32(in, 64), CBP_SUMS_32(in, 96)
// `sums` registers of d, then: a, b, add, majors.
#define CBP_WGMMA(n, type, sums, at_a, at_b, at_add, at_major_a, at_major_b)                                     \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, " at_add ", 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" CBP_REGISTERS_##sums "}, "   \
               at_a ", " at_b ", add, 1, 1, " at_major_a ", " at_major_b ";\n}"                                 \
               : CBP_SUMS_##sums("+f")                                                                          \
               : "l"(a), "l"(b), "r"(static_cast<int>(add)), "n"(MN_A), "n"(MN_B))

template <class T> constexpr bool IS_HALF = false;
template <> constexpr bool IS_HALF<half_t> = true;

template <class T, int N, bool MN_A, bool MN_B>
CBP_DEVICE void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool add) {
  static_assert(N == 256 || N == 128, "the shapes that are in use");
  constexpr bool HALF = IS_HALF<T>;
  if constexpr (N == 256 && HALF) CBP_WGMMA("256", "f16", 128, "%128", "%129", "%130", "%131", "%132");
  if constexpr (N == 256 && !HALF) CBP_WGMMA("256", "bf16", 128, "%128", "%129", "%130", "%131", "%132");
  if constexpr (N == 128 && HALF) CBP_WGMMA("128", "f16", 64, "%64", "%65", "%66", "%67", "%68");
  if constexpr (N == 128 && !HALF) CBP_WGMMA("128", "bf16", 64, "%64", "%65", "%66", "%67", "%68");
}
CBP_DEVICE void wgmma_u8s8(int32_t (&d)[64], uint64_t a, uint64_t b, bool add) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n128k32.s32.u8.s8 {" CBP_REGISTERS_64 "}, %64, %65, add;\n}"
               : CBP_SUMS_64("+r")
               : "l"(a), "l"(b), "r"(static_cast<int>(add)));
}
