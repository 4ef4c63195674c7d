// Planted bugs: kernels that are right with bug = 0 and wrong in one way with bug = 1, each to be caught by name in
// tests/suite/kernels/emulator.rs. They are part of no build but the emulator's.
#pragma once
#include "../../prims/prims.cuh"

// Blocks of 128 threads; `in` and `out` hold 128 values a block, shared memory 512 bytes a tile.
struct Planted {
  Global<const float> in;
  Global<float> out;
  uint32_t bug, unused;
};

constexpr uint32_t THREADS = 128;
constexpr uint32_t TILE_BYTES = 4 * THREADS;

CBP_DEVICE uint32_t own() { return blockIdx.x * THREADS + threadIdx.x; }
// A thread of the next warp.
CBP_DEVICE uint32_t other() { return (threadIdx.x + 33) % THREADS; }
