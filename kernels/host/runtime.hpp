// The emulation runtime as a compiled kernel sees it: who am I, wait for the others, may I touch this byte.
//
// Each kernel is compiled twice from the same source. The checked build sends every memory access through
// check_global and check_shared; the fast build follows plain pointers. Both share this runtime, whose types
// therefore do not depend on the build. This header also brings every standard header a kernel may use:
// unit.cpp includes it before it opens the anonymous namespace that keeps the two builds apart.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#if defined(__F16C__) || defined(__AVX2__)
#include <immintrin.h>
#endif

#include "types.hpp"

namespace emu {

// ---- where in the source a thread waits

struct Site {
  const char* file;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// ---- threads

// One emulated thread. Only what kernels read is here; the scheduler keeps the rest (block.hpp).
struct Thread {
  uint3 index;
  uint32_t linear;
};

// The block that this OS thread is running.
struct BlockView {
  uint3 index, block_dim, grid_dim;
  uint8_t* shared;  // byte 0 of the block's dynamic shared memory
  uint32_t shared_bytes;
};

extern __thread Thread* thread_now;
extern __thread BlockView* block_now;

// Shared addresses start here and not at 0, so that a kernel that takes a byte offset for an address is found out.
// A multiple of 1024, as the real base is: swizzles computed from offsets and from addresses agree.
constexpr uint32_t SHARED_BASE = 1024;

// ---- waiting for others

void block_barrier(Site site);

enum class Collective : uint32_t { WarpSync, Shuffle, Ballot, LoadMatrix, Mma };

// All 32 lanes meet at one collective; the last to come calls `complete` with everyone's payload.
void meet(Collective what, Site site, void* payload, void (*complete)(void* const payloads[32]));

// ---- memory

// A device address is a host pointer with the number of its allocation in the top 16 bits: user space ends below
// bit 47 on the machines we build on, and the number tells whose memory it was meant to be wherever it points.
constexpr int TAG_SHIFT = 48;
constexpr uint64_t POINTER_MASK = (uint64_t{1} << TAG_SHIFT) - 1;

inline uint8_t* plain_pointer(uint64_t address) { return reinterpret_cast<uint8_t*>(address & POINTER_MASK); }

// WarpRead: a row of ldmatrix, named by one lane and read by four. AsyncCopy: the destination of cp.async.
enum class Access : uint32_t { Read, WarpRead, Write, Atomic, AsyncCopy };

// Bounds, alignment, races, initialisation. Returns the host address; does not return when the access is wrong.
uint8_t* check_global(uint64_t address, uint32_t bytes, uint32_t alignment, Access access);
uint8_t* check_shared(uint32_t address, uint32_t bytes, uint32_t alignment, Access access);

// ---- asynchronous copies (checked build)

void async_copy16(uint32_t to, uint64_t from, bool valid);
void async_commit();
void async_wait(uint32_t newest_groups_left);

// ---- registry

using Entry = void (*)(const void* args);

struct Kernel {
  const char* name;
  uint32_t args_bytes, max_threads;
  bool avx2;       // compiled for it
  Entry entry[2];  // fast, checked
};

#ifdef __AVX2__
constexpr bool BUILT_FOR_AVX2 = true;
#else
constexpr bool BUILT_FOR_AVX2 = false;
#endif

struct Register {
  Register(const char* name, size_t args_bytes, uint32_t max_threads, bool avx2, bool checked, Entry entry);
};

}  // namespace emu
