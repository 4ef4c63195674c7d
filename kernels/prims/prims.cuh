// prims: what a kernel may call. One vocabulary with two implementations: prims/cuda.cuh (the GPU; all the
// assembly of the portable path) and host/prims.hpp (the emulator, where every call is checked).
//
// in  nothing: a kernel file includes this header and no other outside kernels/
// why one header picks: the same source is compiled by nvcc and, for tests without a GPU, by the host's compiler
//
//   CBP_KERNEL(name, Args, MAX_THREADS, MIN_BLOCKS_PER_SM) { ... p.field ... }
//                               a kernel: one plain struct by value, seen as `p`; `name` is what a launch names
//   CBP_DEVICE                  before every function that a kernel calls
//   threadIdx blockIdx blockDim gridDim, lane(), warp()      32-bit unsigned
//
//   Global<T>                   pointer to device memory, 8 bytes, plain data
//     p[i]                      an element. Write `float x = p[i]`, never `auto`: for writable memory the emulator
//                               returns a reference that reads when it is converted
//     p + n, p.template as<U>(), member(p, &Struct::field), Global<T> -> Global<const T>, if (p)
//   Shared<T>, shared_at<T>(byte_offset)     the same for the block's dynamic shared memory; its size is the launch's
//     s.address()               the 32-bit shared address that ldmatrix and cp_async16 take
//   load_vec<V>(p, i)  store_vec(p, i, v)    V = uint32_t, uint2, uint4, float2, float4 at element i of p (i counts
//                               elements of p's own type); the address must be a multiple of sizeof(V)
//
//   block_sync() warp_sync()    the only two that order memory between threads. Without one between them, two
//                               accesses of one byte by two threads are a race unless both read or both are atomic,
//                               also when both write the same value; blocks of one launch are never ordered
//   shfl(v, lane) shfl_xor(v, mask) shfl_down(v, delta) ballot(pred)         all 32 lanes take part, always;
//                               so do they in warp_sync, ldmatrix and mma
//   cp_async16(shared_address, src, valid)   16 bytes, both ends aligned to 16; valid = false writes zeros and does
//                               not touch src; done only after commit and wait by the same thread, and seen by
//                               other threads only after a block_sync behind that wait
//   cp_async_commit() cp_async_wait<N>()     N = the number of newest groups that may still be under way
//   ldmatrix_x4(r, address) ldmatrix_x4_trans(r, address)     lane l gives the 16-byte row l % 8 of matrix l / 8
//   mma_16816<T>(d, a, b0, b1) mma_1688_tf32(d, a, b0, b1)    d += a b, f32 accumulators, fragments as PTX has them
//   mma_16832_u8s8(d, a, b0, b1)             the same of bytes, a unsigned and b signed, s32 accumulators that wrap
//
//   half_t bf16_t               16-bit storage. to_float(x), from_float<T>(f): to nearest, ties to even; both are
//                               also defined for float, so that kernels can be templates over the element type
//   pack2<T>(low, high) unpack2<T>(u)        two 16-bit values in a register; .x is the low half
//   to_tf32(f)                  f32 bits with 10 mantissa bits, to nearest, ties away (cvt.rna)
//   float_bits(f) bits_float(u) popcount(u)
//   quotient(a, b)              a / b to 2 ulp, where 2^-126 <= |b| <= 2^126 (the host: exactly)
//   apart(u)                  u in a register of its own: fragments that share values, each in registers on end, would
//                             otherwise be put together anew for every mma
//   atomic_or(p, v) atomic_min(p, v)         on Global<uint32_t>: flags and indices, never a sum of floats
//   FastDiv                     division by a number known on the host (engine/cuda/fast_div.rs builds it)
#pragma once

#ifdef __CUDACC__
#include "cuda.cuh"
#else
#include "../host/prims.hpp"
#endif

// Quotient and remainder of x < 2^31 by d, without a division.
// source: Granlund and Montgomery 1994, figure 4.1: magic = floor(2^32 (2^shift - d) / d) + 1, shift = ceil(log2 d)
struct FastDiv {
  uint32_t d, magic, shift;
  CBP_DEVICE uint32_t div(uint32_t x) const { return (multiply_high(x, magic) + x) >> shift; }
  CBP_DEVICE uint32_t mod(uint32_t x) const { return x - div(x) * d; }
};
