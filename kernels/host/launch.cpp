#include "launch.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>

namespace emu {

std::map<std::string, Kernel>& registry() {
  static std::map<std::string, Kernel> kernels;
  return kernels;
}

Register::Register(const char* name, size_t args_bytes, uint32_t max_threads, uint32_t cluster, bool avx2, bool checked,
                   Entry entry) {
  Kernel& kernel = registry()[name];
  kernel.name = name;
  kernel.args_bytes = static_cast<uint32_t>(args_bytes);
  kernel.max_threads = max_threads;
  kernel.cluster = cluster;
  kernel.avx2 = avx2;
  kernel.entry[checked] = entry;
}

// The most a block can have on any GPU we build for (sm_90: 227 KB).
constexpr uint32_t SHARED_LIMIT = 232448;

// What the driver would refuse, and what it cannot know.
static std::string refusal(const Kernel& kernel, uint3 grid, uint3 block, uint32_t shared_bytes, size_t args_bytes) {
#ifdef __x86_64__
  if (kernel.avx2 && !__builtin_cpu_supports("avx2"))
    return "compiled on a machine with AVX2, this one has none: build it here";
#endif
  if (args_bytes != kernel.args_bytes) {
    return "arguments of " + std::to_string(args_bytes) + " bytes, the kernel's struct has " +
           std::to_string(kernel.args_bytes);
  }
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kernel.max_threads) {
    return "a block of " + std::to_string(threads) + " threads, the kernel's bound is " +
           std::to_string(kernel.max_threads);
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535) {
    return "a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " + std::to_string(grid.z) +
           ", allowed are 1 to 2^31-1, 65535, 65535";
  }
  if (uint64_t{grid.x} * grid.y * grid.z > UINT32_MAX) return "a grid of more than 2^32 blocks: too many to emulate";
  if (kernel.cluster > 0 && (grid.x % kernel.cluster || threads % GROUP)) {
    return "a grid of " + std::to_string(grid.x) + " blocks of " + std::to_string(threads) +
           " threads: the kernel wants clusters of " + std::to_string(kernel.cluster) + " and whole warpgroups";
  }
  if (shared_bytes > SHARED_LIMIT) {
    return std::to_string(shared_bytes) + " bytes of shared memory, the limit is " + std::to_string(SHARED_LIMIT);
  }
  return {};
}

std::string Device::launch(const std::string& kernel, uint3 grid, uint3 block, uint32_t shared_bytes, const void* args,
                           size_t args_bytes, const char* label) {
  const auto found = registry().find(kernel);
  if (found == registry().end()) return "no kernel of this name in the emulator: " + kernel;
  std::string error = refusal(found->second, grid, block, shared_bytes, args_bytes);
  if (!error.empty()) return error + "\n  where: kernel " + kernel + " (" + label + ")";

  // A copy that is aligned for any member, tensor maps among them.
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::unique_ptr<Line[]> copy(new Line[args_bytes / sizeof(Line) + 1]);
  memcpy(copy.get(), args, args_bytes);
  const Launch launch{&found->second, copy.get(), grid, block, shared_bytes, label, ++launches};
  error = run_blocks(launch);
  const Allocation* overrun = error.empty() ? memory.overrun() : nullptr;
  if (overrun)
    error = "a write out of bounds beside \"" + overrun->label + "\"\n  where: kernel " + kernel + " (" + label + ")";
  if (error.empty()) return error;
  return error + "\n  schedule: " + (options.checked ? "checked, seed " + std::to_string(options.seed) : "fast") +
         ", launch " + std::to_string(launch.number);
}

std::string Device::run_blocks(const Launch& launch) {
  const uint32_t cluster = std::max(1u, launch.kernel->cluster);
  const uint64_t blocks = uint64_t{launch.grid.x} * launch.grid.y * launch.grid.z / cluster;
  // The grid promises no order of its blocks: the checked build takes them (or their clusters) from anywhere, by a
  // stride that reaches all.
  uint64_t first = 0, stride = 1;
  if (options.checked) {
    Random random{options.seed * 0x9E3779B97F4A7C15u + launch.number};
    first = random.next() % blocks;
    do stride = random.next() % blocks + 1;
    while (std::gcd(stride, blocks) != 1);
  }

  std::atomic<uint64_t> next{0};
  std::atomic<bool> failed{false};
  std::mutex lock;
  std::string error;
  auto fail = [&](std::string report) {
    std::lock_guard<std::mutex> guard(lock);
    if (!failed.exchange(true)) error = std::move(report);
  };
  auto work = [&](Worker& worker) {
    try {
      for (uint64_t n = next++; n < blocks && !failed; n = next++) {
        const auto b = static_cast<uint32_t>((first + n * stride) % blocks) * cluster;
        const uint3 grid = launch.grid;
        std::string report;
        if (!worker.run(launch, {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y}, &report))
          fail(std::move(report));
      }
    } catch (const std::exception& e) {
      fail(e.what());
    }
  };
  const uint64_t os_threads = options.checked ? 1 : std::min<uint64_t>(blocks, options.os_threads);
  while (workers.size() < os_threads) workers.emplace_back(memory, options);
  std::vector<std::thread> others;
  for (uint64_t i = 1; i < os_threads; i++) others.emplace_back([&, i] { work(workers[i]); });
  work(workers[0]);
  for (auto& other : others) other.join();
  return error;
}

}  // namespace emu
