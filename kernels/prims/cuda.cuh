// prims on the GPU: thin names over CUDA and PTX, sm_80 and up. See prims.cuh for what each means.
//
// Everything here inlines to one instruction, or to the pointer it wraps.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define CBP_DEVICE __device__ __forceinline__

// Behind a programmatic edge of a CUDA graph (engine/cuda/graph.rs) a kernel's blocks are placed while the kernel before
// ends; so before anything else each waits until that one has ended and its writes are seen, and lets the next one's
// blocks be placed. Behind any other edge both do nothing.
CBP_DEVICE void wait_for_kernel_before() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

#define CBP_ENTRY(name, Args, ...)                                          \
  CBP_DEVICE void name##_body(const Args& p);                               \
  extern "C" __global__ void __VA_ARGS__ name(const __grid_constant__ Args p) { \
    wait_for_kernel_before();                                               \
    name##_body(p);                                                         \
  }                                                                         \
  CBP_DEVICE void name##_body(const Args& p)
#define CBP_KERNEL(name, Args, MAX_THREADS, MIN_BLOCKS_PER_SM) \
  CBP_ENTRY(name, Args, __launch_bounds__(MAX_THREADS, MIN_BLOCKS_PER_SM))

// ---- threads

CBP_DEVICE uint32_t linear_thread() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }
CBP_DEVICE uint32_t lane() { return linear_thread() & 31; }
CBP_DEVICE uint32_t warp() { return linear_thread() >> 5; }

CBP_DEVICE void block_sync() { __syncthreads(); }
CBP_DEVICE void warp_sync() { __syncwarp(); }
template <class T> CBP_DEVICE T shfl(T v, uint32_t from) { return __shfl_sync(~0u, v, from); }
template <class T> CBP_DEVICE T shfl_xor(T v, uint32_t mask) { return __shfl_xor_sync(~0u, v, mask); }
template <class T> CBP_DEVICE T shfl_down(T v, uint32_t delta) { return __shfl_down_sync(~0u, v, delta); }
// CUDA's headers still declare a `ballot`, of GPUs before Volta, that no overload can hide.
CBP_DEVICE uint32_t warp_ballot(bool pred) { return __ballot_sync(~0u, pred); }
#define ballot warp_ballot

// ---- memory

template <class T> struct Global {
  T* pointer;
  Global() = default;
  CBP_DEVICE explicit Global(T* at) : pointer(at) {}
  CBP_DEVICE operator Global<const T>() const { return Global<const T>(pointer); }
  CBP_DEVICE explicit operator bool() const { return pointer != nullptr; }
  template <class I> CBP_DEVICE T& operator[](I i) const { return pointer[i]; }
  template <class I> CBP_DEVICE Global operator+(I n) const { return Global(pointer + n); }
  template <class U> CBP_DEVICE Global<U> as() const { return Global<U>(reinterpret_cast<U*>(pointer)); }
};
template <class T> struct Global<const T> {
  const T* pointer;
  Global() = default;
  CBP_DEVICE explicit Global(const T* at) : pointer(at) {}
  CBP_DEVICE explicit operator bool() const { return pointer != nullptr; }
  template <class I> CBP_DEVICE const T& operator[](I i) const { return pointer[i]; }
  template <class I> CBP_DEVICE Global operator+(I n) const { return Global(pointer + n); }
  template <class U> CBP_DEVICE Global<U> as() const { return Global<U>(reinterpret_cast<U*>(pointer)); }
};
template <class S, class F> CBP_DEVICE Global<F> member(Global<S> p, F S::* field) {
  return Global<F>(&(p.pointer->*field));
}
template <class S, class F> CBP_DEVICE Global<const F> member(Global<const S> p, F S::* field) {
  return Global<const F>(&(p.pointer->*field));
}

template <class T> struct Shared {
  T* pointer;
  template <class I> CBP_DEVICE T& operator[](I i) const { return pointer[i]; }
  template <class I> CBP_DEVICE Shared operator+(I n) const { return Shared{pointer + n}; }
  template <class U> CBP_DEVICE Shared<U> as() const { return Shared<U>{reinterpret_cast<U*>(pointer)}; }
  CBP_DEVICE uint32_t address() const { return static_cast<uint32_t>(__cvta_generic_to_shared(pointer)); }
};
// 1024-byte alignment lets a tile's swizzle be computed from offsets alone.
template <class T> CBP_DEVICE Shared<T> shared_at(uint32_t byte_offset) {
  extern __shared__ __align__(1024) unsigned char cbp_dynamic_shared[];
  return Shared<T>{reinterpret_cast<T*>(cbp_dynamic_shared + byte_offset)};
}

template <class V, class T, class I> CBP_DEVICE V load_vec(Global<T> p, I i) {
  return *reinterpret_cast<const V*>(p.pointer + i);
}
template <class V, class T, class I> CBP_DEVICE void store_vec(Global<T> p, I i, V v) {
  *reinterpret_cast<V*>(p.pointer + i) = v;
}
template <class V, class T, class I> CBP_DEVICE V load_vec(Shared<T> s, I i) {
  return *reinterpret_cast<const V*>(s.pointer + i);
}
template <class V, class T, class I> CBP_DEVICE void store_vec(Shared<T> s, I i, V v) {
  *reinterpret_cast<V*>(s.pointer + i) = v;
}

CBP_DEVICE uint32_t atomic_or(Global<uint32_t> p, uint32_t v) { return atomicOr(p.pointer, v); }
CBP_DEVICE uint32_t atomic_min(Global<uint32_t> p, uint32_t v) { return atomicMin(p.pointer, v); }

// ---- asynchronous copies: .cg goes past L1, where a tile that is read once would only take room

template <class T> CBP_DEVICE void cp_async16(uint32_t to, Global<const T> src, bool valid) {
  // A source size of 0 fills with zeros; the address is then not read.
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(__cvta_generic_to_global(src.pointer)),
               "r"(valid ? 16 : 0)
               : "memory");
}
template <class T> CBP_DEVICE void cp_async16(uint32_t to, Global<T> src, bool valid) {
  cp_async16(to, Global<const T>(src), valid);
}
CBP_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> CBP_DEVICE void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// ---- numbers

struct half_t {
  uint16_t bits;
};
struct bf16_t {
  uint16_t bits;
};

CBP_DEVICE uint32_t multiply_high(uint32_t a, uint32_t b) { return __umulhi(a, b); }
CBP_DEVICE uint32_t float_bits(float f) { return __float_as_uint(f); }
CBP_DEVICE float bits_float(uint32_t u) { return __uint_as_float(u); }
CBP_DEVICE uint32_t popcount(uint32_t u) { return __popc(u); }
CBP_DEVICE float quotient(float a, float b) {
  float inverse;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(b));
  return a * inverse;
}
CBP_DEVICE uint32_t apart(uint32_t u) {
  uint32_t copy;  // ptxas would see through a mov
  asm volatile("prmt.b32 %0, %1, %1, 0x3210;" : "=r"(copy) : "r"(u));
  return copy;
}

CBP_DEVICE float to_float(float x) { return x; }
CBP_DEVICE float to_float(half_t x) { return __half2float(__ushort_as_half(x.bits)); }
CBP_DEVICE float to_float(bf16_t x) { return __uint_as_float(static_cast<uint32_t>(x.bits) << 16); }

template <class T> CBP_DEVICE T from_float(float f);
template <> CBP_DEVICE float from_float<float>(float f) { return f; }
template <> CBP_DEVICE half_t from_float<half_t>(float f) { return half_t{__half_as_ushort(__float2half_rn(f))}; }
template <> CBP_DEVICE bf16_t from_float<bf16_t>(float f) {
  return bf16_t{__bfloat16_as_ushort(__float2bfloat16_rn(f))};
}

template <class T> CBP_DEVICE uint32_t pack2(float low, float high);
template <> CBP_DEVICE uint32_t pack2<half_t>(float low, float high) {
  uint32_t u;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  return u;
}
template <> CBP_DEVICE uint32_t pack2<bf16_t>(float low, float high) {
  uint32_t u;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(u) : "f"(high), "f"(low));
  return u;
}
template <class T> CBP_DEVICE float2 unpack2(uint32_t u) {
  return make_float2(to_float(T{static_cast<uint16_t>(u)}), to_float(T{static_cast<uint16_t>(u >> 16)}));
}
CBP_DEVICE uint32_t to_tf32(float f) {
  uint32_t u;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(u) : "f"(f));
  return u;
}

// ---- tensor cores

CBP_DEVICE void ldmatrix_x4(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
CBP_DEVICE void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

template <class T> CBP_DEVICE void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <> CBP_DEVICE void mma_16816<half_t>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <> CBP_DEVICE void mma_16816<bf16_t>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
CBP_DEVICE void mma_1688_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
CBP_DEVICE void mma_16832_u8s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};"
               : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
