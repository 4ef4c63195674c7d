// The emulated device behind a C interface; engine/cuda/emulated.rs is the other side. Every failure is a text that
// the caller can read from cbp_emu_error: nothing here ends the process.
#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "block.hpp"

namespace emu {

// Kernels register before main, one entry a build.
static std::map<std::string, Kernel>& registry() {
  static std::map<std::string, Kernel> kernels;
  return kernels;
}

Register::Register(const char* name, size_t args_bytes, uint32_t max_threads, bool checked, Entry entry) {
  Kernel& kernel = registry()[name];
  kernel.name = name;
  kernel.args_bytes = static_cast<uint32_t>(args_bytes);
  kernel.max_threads = max_threads;
  kernel.entry[checked] = entry;
}

struct Device {
  Options options;
  Memory memory;
  std::deque<Worker> workers;
  uint64_t launches = 0;
  std::string error;
};

// The most a block can have on any GPU we build for (sm_90: 227 KB).
constexpr uint32_t SHARED_LIMIT = 232448;

static std::string check_launch(const std::string& name, const Kernel* kernel, uint3 grid, uint3 block, uint32_t shared_bytes, size_t args_bytes) {
  if (!kernel) return "no kernel of this name in the emulator: " + name;
  if (args_bytes != kernel->args_bytes) {
    return name + ": arguments of " + std::to_string(args_bytes) + " bytes, the kernel's struct has " + std::to_string(kernel->args_bytes);
  }
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kernel->max_threads) {
    return name + ": a block of " + std::to_string(threads) + " threads, the kernel's bound is " + std::to_string(kernel->max_threads);
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535) {
    return name + ": a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z) +
           ", allowed are 1 to 2^31-1, 65535, 65535";
  }
  if (shared_bytes > SHARED_LIMIT) {
    return name + ": " + std::to_string(shared_bytes) + " bytes of shared memory, the limit is " + std::to_string(SHARED_LIMIT);
  }
  return {};
}

static std::string launch(Device& device, const Launch& launch) {
  const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z;
  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex lock;
  std::string error;
  // Blocks promise no order; the checked build takes them in one that depends on the seed.
  const uint64_t turn = device.options.checked ? Random{device.options.seed + launch.number}.next() % blocks : 0;
  auto work = [&](Worker& worker) {
    for (uint64_t n = next++; n < blocks && !failed; n = next++) {
      const uint64_t b = (n + turn) % blocks;
      const uint3 index{static_cast<uint32_t>(b % launch.grid.x), static_cast<uint32_t>(b / launch.grid.x % launch.grid.y),
                        static_cast<uint32_t>(b / (uint64_t{launch.grid.x} * launch.grid.y))};
      std::string report;
      if (!worker.run(launch, index, &report)) {
        failed = true;
        std::lock_guard<std::mutex> guard(lock);
        if (error.empty()) error = std::move(report);
      }
    }
  };
  const uint64_t wanted = device.options.checked ? 1 : std::min<uint64_t>(blocks, device.options.os_threads);
  while (device.workers.size() < wanted) device.workers.emplace_back(device.memory, device.options);
  std::vector<std::thread> others;
  for (uint64_t i = 1; i < wanted; i++) others.emplace_back([&, i] { work(device.workers[i]); });
  work(device.workers[0]);
  for (auto& other : others) other.join();
  if (error.empty()) {
    if (const Allocation* in = device.memory.overrun()) {
      error = std::string("a kernel wrote out of bounds beside \"") + in->label + "\"\n  where: kernel " + launch.kernel->name + " (" + launch.label + ")";
    }
  }
  if (!error.empty()) {
    error += "\n  schedule: seed " + std::to_string(device.options.seed) + ", launch " + std::to_string(launch.number) +
             (device.options.checked ? ", checked" : ", fast");
  }
  return error;
}

}  // namespace emu

using emu::Device;

// 0 when done, 1 with a text in `error`.
template <class F> static int guarded(Device* device, F body) noexcept {
  try {
    device->error = body();
  } catch (const std::exception& e) {
    device->error = e.what();
  }
  return device->error.empty() ? 0 : 1;
}

extern "C" {

Device* cbp_emu_open(const emu::Options* options) {
  auto* device = new (std::nothrow) Device;
  if (device) device->options = *options;
  return device;
}

void cbp_emu_close(Device* device) { delete device; }

const char* cbp_emu_error(const Device* device) { return device->error.c_str(); }

int cbp_emu_alloc(Device* device, size_t bytes, const char* label, uint64_t* address) {
  return guarded(device, [&]() -> std::string {
    *address = device->memory.alloc(bytes, label);
    return *address ? "" : "no memory for " + std::to_string(bytes) + " bytes of \"" + label + "\"";
  });
}

int cbp_emu_free(Device* device, uint64_t address) {
  return guarded(device, [&]() -> std::string {
    return device->memory.free(address) ? "" : "free of an address that is not the start of an allocation";
  });
}

int cbp_emu_upload(Device* device, uint64_t to, const void* from, size_t bytes) {
  return guarded(device, [&] {
    std::string error;
    if (uint8_t* at = device->memory.range(to, bytes, &error)) memcpy(at, from, bytes);
    return error;
  });
}

int cbp_emu_download(Device* device, uint64_t from, void* to, size_t bytes) {
  return guarded(device, [&] {
    std::string error;
    if (const uint8_t* at = device->memory.range(from, bytes, &error)) memcpy(to, at, bytes);
    return error;
  });
}

int cbp_emu_zero(Device* device, uint64_t at, size_t bytes) {
  return guarded(device, [&] {
    std::string error;
    if (uint8_t* to = device->memory.range(at, bytes, &error)) memset(to, 0, bytes);
    return error;
  });
}

int cbp_emu_launch(Device* device, const char* kernel, const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes,
                   const void* args, size_t args_bytes, const char* label) {
  return guarded(device, [&] {
    const auto found = emu::registry().find(kernel);
    const emu::Kernel* entry = found == emu::registry().end() ? nullptr : &found->second;
    const uint3 grid3{grid[0], grid[1], grid[2]}, block3{block[0], block[1], block[2]};
    std::string error = emu::check_launch(kernel, entry, grid3, block3, shared_bytes, args_bytes);
    if (!error.empty()) return error;
    // The arguments' copy is aligned for any member.
    std::unique_ptr<std::max_align_t[]> copy(new std::max_align_t[args_bytes / sizeof(std::max_align_t) + 1]);
    memcpy(copy.get(), args, args_bytes);
    return emu::launch(*device, {entry, copy.get(), grid3, block3, shared_bytes, label, device->launches++});
  });
}

// Kernel i of the registry, in the order of names; 0 when there is none.
int cbp_emu_kernel(size_t i, const char** name, uint32_t* args_bytes, uint32_t* max_threads) {
  if (i >= emu::registry().size()) return 0;
  const emu::Kernel& kernel = std::next(emu::registry().begin(), static_cast<std::ptrdiff_t>(i))->second;
  *name = kernel.name;
  *args_bytes = kernel.args_bytes;
  *max_threads = kernel.max_threads;
  return 1;
}

}  // extern "C"
