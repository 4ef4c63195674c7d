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
  uint32_t rank;  // in its cluster
};

extern __thread Thread* thread_now;
extern __thread BlockView* block_now;

// Shared addresses start here and not at 0, so that a kernel that takes a byte offset for an address is found out.
// A multiple of 1024, as the real base is: swizzles computed from offsets and from addresses agree.
constexpr uint32_t SHARED_BASE = 1024;

// ---- waiting for others

void block_barrier(Site site);

enum class Collective : uint32_t { WarpSync, Shuffle, Ballot, LoadMatrix, StoreMatrix, Mma };

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

// ---- Hopper (hopper.hpp): clusters, mbarriers, bulk copies, warpgroups

void cluster_barrier(Site site);

// An mbarrier is named by its shared address.
void mbarrier_init(uint32_t at, uint32_t arrivals);
// Of a block of the cluster, which is told of `bytes` more to come.
void mbarrier_arrive(uint32_t at, uint32_t rank, uint32_t bytes);
void mbarrier_wait(uint32_t at, uint32_t parity, Site site);
// Orders what threads wrote before what the asynchronous proxy touches.
void proxy_fence();

// A tensor map as the emulated device encodes it; mirrored by engine/cuda/emulated.rs. Elements of 16 bits, a box of 64
// elements a row, swizzled over 128 bytes.
struct alignas(64) TensorMap {
  uint64_t magic, address;
  uint32_t channels, length, batch;  // a flat tensor of rows has length = rows, batch = 1
  uint32_t box_rows, im2col;
  int32_t lower, upper;  // im2col: corners of the box that positions walk in, from 0 and from length - 1
  uint32_t unused[21];
};
static_assert(sizeof(TensorMap) == 128, "as the driver's");
constexpr uint64_t TENSOR_MAP_MAGIC = 0x70616D726F736E65;

// The box at channel `c` and position `l` of example `n` (im2col: moved by `offset` after the walk) into the shared
// memory of every block in `ranks`, whose mbarriers at `barrier` are told.
struct BulkLoad {
  const TensorMap* map;
  uint32_t to, barrier;
  int32_t c, l, n;
  uint32_t offset, ranks;
};
void bulk_load(const BulkLoad& load);
void bulk_store(const TensorMap* map, uint32_t from, int32_t c, int32_t row);
void bulk_commit();
// Until shared memory has been read.
void bulk_wait_read(uint32_t newest_groups_left);

// All 128 threads of a warpgroup meet at one instruction; the last to come calls `complete` with everyone's payload.
enum class GroupCollective : uint32_t { Registers, Fence, Product, Commit, Wait };
constexpr uint32_t GROUP = 128;
void meet_group(GroupCollective what, Site site, void* payload, void (*complete)(void* const payloads[GROUP]));

// One wgmma: every thread's accumulators, and how to add the product to the sums of all, [64][columns].
struct Product {
  float* accumulators[GROUP];
  uint64_t a, b;
  bool add;
  uint32_t columns;
  // 16-byte rows of shared memory that the descriptors name: `touch` is called with the offset of each
  void (*operands)(const Product&, void* context, void (*touch)(void* context, uint32_t offset));
  void (*multiply)(const Product&, const uint8_t* shared, float* sums);
  uint32_t group;  // set by the runtime
};
// To be called from `complete` of the respective meeting.
void group_fence();
void group_product(const Product& product);
void group_commit();
void group_wait(uint32_t newest_groups_left);

[[noreturn]] void fail(const char* what);

// ---- registry

using Entry = void (*)(const void* args);

struct Kernel {
  const char* name;
  uint32_t args_bytes, max_threads;
  uint32_t cluster;  // blocks of a cluster, 0: not a kernel for clusters
  bool avx2;         // compiled for it
  Entry entry[2];  // fast, checked
};

#ifdef __AVX2__
constexpr bool BUILT_FOR_AVX2 = true;
#else
constexpr bool BUILT_FOR_AVX2 = false;
#endif

struct Register {
  Register(const char* name, size_t args_bytes, uint32_t max_threads, uint32_t cluster, bool avx2, bool checked,
           Entry entry);
};

}  // namespace emu
