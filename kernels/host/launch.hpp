// The device: its memory, its workers, and how a launch becomes blocks.
#pragma once
#include <deque>
#include <map>
#include <string>

#include "block.hpp"

namespace emu {

// Kernels by name. They register before main, one entry a build.
std::map<std::string, Kernel>& registry();

struct Device {
  Options options;
  Memory memory;
  std::deque<Worker> workers;  // one an OS thread
  uint32_t launches;

  explicit Device(const Options& o) : options(o), memory(o.checked), launches(0) {}
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  // Runs a kernel to its end. An empty text, or the report of the first check that failed.
  std::string launch(const std::string& kernel, uint3 grid, uint3 block, uint32_t shared_bytes, const void* args,
                     size_t args_bytes, const char* label);

 private:
  std::string run_blocks(const Launch& launch);
};

}  // namespace emu
