// prims on the host: what prims.cuh promises, in terms of the emulation runtime. Compiled inside an anonymous
// namespace (unit.cpp), once with checks and once without.
#pragma once
#include "runtime.hpp"

#ifdef CBP_CHECKED
constexpr bool CHECKED = true;
#define CBP_DEVICE inline
#else
constexpr bool CHECKED = false;
// A kernel's helpers work on register arrays of their caller, which stay in registers only when inlined.
#define CBP_DEVICE inline __attribute__((always_inline))
#endif

#define CBP_REGISTER(name, Args, MAX_THREADS, CLUSTER)                                                         \
  static_assert(std::is_trivially_copyable<Args>::value, "a kernel's arguments are copied as bytes");          \
  static void name(const Args& p);                                                                             \
  static const emu::Register register_##name(#name, sizeof(Args), MAX_THREADS, CLUSTER, emu::BUILT_FOR_AVX2,   \
                                             CHECKED,                                                          \
                                             [](const void* args) { name(*static_cast<const Args*>(args)); }); \
  static void name(const Args& p)
#define CBP_KERNEL(name, Args, MAX_THREADS, MIN_BLOCKS_PER_SM) CBP_REGISTER(name, Args, MAX_THREADS, 0)

#define threadIdx (emu::thread_now->index)
#define blockIdx (emu::block_now->index)
#define blockDim (emu::block_now->block_dim)
#define gridDim (emu::block_now->grid_dim)

using std::max;
using std::min;

#include "global.hpp"
#include "numbers.hpp"
#include "shared.hpp"
#include "tensor.hpp"
#include "warp.hpp"
