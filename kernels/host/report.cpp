// What the user of the emulator reads when a check fails: what, which thread of which block, who waits where.
#include <cstdio>

#include "block.hpp"

namespace emu {

std::string text(Site site) { return std::string(site.file) + ":" + std::to_string(site.line); }

static std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

void Worker::fail(const std::string& what) {
  error_ = what + "\n  where: kernel " + launch_->kernel->name + " (" + launch_->label + "), block " +
           text(block_now().view.index) + " of " + text(launch_->grid) + ", thread " + text(now().index) + " of " +
           text(launch_->block);
  error_ += now().passed.file ? ", last synchronised at " + text(now().passed) : ", before its first synchronisation";
  return_to_caller();
}

void Worker::fail_waiting(const char* what) {
  std::string lines = what;
  for (size_t w = 0; w < warps_.size(); w++) {
    const WarpState& warp = warps_[w];
    auto add = [&](uint32_t lanes, const std::string& how) {
      char mask[16];
      snprintf(mask, sizeof mask, "%08x", lanes);
      lines += "\n  warp " + std::to_string(w) + ", lanes " + mask + ": " + how;
    };
    const uint32_t all = threads_ - w * 32 < 32 ? (1u << (threads_ - w * 32)) - 1 : ~0u;
    if (warp.at_barrier) add(warp.at_barrier, "in block_sync at " + text(warp.barrier));
    if (warp.arrived) add(warp.arrived, "in a warp collective at " + text(warp.meeting));
    if (all & ~warp.live) add(all & ~warp.live, "returned");
    if (const uint32_t waiting = warp.live & ~(warp.ready | warp.at_barrier | warp.arrived)) {
      const Fiber& first = fibers_[w * 32 + static_cast<uint32_t>(__builtin_ctz(waiting))];
      add(waiting, "waiting at " + text(first.passed));
    }
  }
  for (const Block& block : blocks_) {
    for (const Mbarrier& barrier : block.mbarriers) {
      if (!barrier.waiting.empty()) lines += "\n  block " + std::to_string(block.number) + ": " + state(barrier);
    }
  }
  fail(lines);
}

}  // namespace emu
