#include "block.hpp"

#include <cstdlib>

namespace emu {

__thread Thread* thread_now;
__thread BlockView* block_now;
static __thread Worker* worker_now;

static uint32_t lanes_from(uint32_t mask, uint32_t first) {  // the set lane at or after `first`, going round
  const uint32_t turned = first ? mask >> first | mask << (32 - first) : mask;
  return (first + static_cast<uint32_t>(__builtin_ctz(turned))) & 31;
}

// ---- a block's life

bool Worker::run(const Launch& launch, uint3 index, std::string* error) {
  launch_ = &launch;
  threads_ = live_ = launch.block.x * launch.block.y * launch.block.z;
  at_barrier_ = 0;
  failed_ = false;
  const uint64_t block = (uint64_t{index.z} * launch.grid.y + index.y) * launch.grid.x + index.x;
  random_.state = options_.seed * 0xD1342543DE82EF95u + launch.number * 0x2545F4914F6CDD1Du + block;

  const size_t room = launch.shared_bytes + 1024;
  if (shared_.size() < room) shared_.resize(room);
  auto* base = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(shared_.data()) + 1023) & ~uintptr_t{1023});
  memset(base, POISON, launch.shared_bytes);
  view_ = {index, launch.block, launch.grid, base, launch.shared_bytes};

  if (fibers_.size() < threads_) fibers_.resize(threads_);
  warps_.assign((threads_ + 31) / 32, WarpState{});
  for (uint32_t t = 0; t < threads_; t++) {
    Fiber& fiber = fibers_[t];
    fiber.linear = t;
    fiber.index = {t % launch.block.x, t / launch.block.x % launch.block.y, t / (launch.block.x * launch.block.y)};
    fiber.context = stacks_.start(t, fiber_main);
    if (!fiber.context) {
      *error = "no memory for the stacks of " + std::to_string(threads_) + " threads";
      return false;
    }
    fiber.passed = {nullptr, 0};
    fiber.copies.clear();
    fiber.groups = 0;
    warps_[t / 32].live |= 1u << t % 32;
  }
  for (auto& warp : warps_) warp.ready = warp.live;

  worker_now = this;
  block_now = &view_;
  uint32_t first = 0;
  if (options_.checked) next_ready(&first);
  thread_now = &fibers_[first];
  switch_context(&main_, fibers_[first].context);
  if (failed_) *error = std::move(error_);
  return !failed_;
}

void Worker::fiber_main() {
  Worker& worker = *worker_now;
  worker.launch_->kernel->entry[worker.options_.checked](worker.launch_->args);
  worker.leave();
}

// The current thread has returned from the kernel.
void Worker::leave() {
  WarpState& warp = warps_[now().linear / 32];
  const uint32_t bit = 1u << now().linear % 32;
  warp.live &= ~bit;
  warp.ready &= ~bit;
  live_--;
  if (warp.arrived) {
    error_ = report("a thread returned while other lanes of its warp wait for it") + waiting();
    stop();
  }
  if (live_ == 0) stop();
  if (at_barrier_ == live_) {
    error_ = report("a thread returned while the rest of its block waits in block_sync") + waiting();
    stop();
  }
  wait_turn();
}

// Back to the OS thread; the fibers are simply never continued.
void Worker::stop() {
  failed_ = !error_.empty();
  Context gone = now().context;
  switch_context(&gone, main_);
  abort();  // nobody continues `gone`
}

// ---- whose turn

bool Worker::next_ready(uint32_t* linear) {
  const auto count = static_cast<uint32_t>(warps_.size());
  const bool at_random = options_.checked;
  const uint32_t here = thread_now ? thread_now->linear : 0;
  const uint32_t first = at_random ? random_.below(count) : here / 32;
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t w = first + i < count ? first + i : first + i - count;
    if (warps_[w].ready) {
      *linear = w * 32 + lanes_from(warps_[w].ready, at_random ? random_.below(32) : (here + 1) & 31);
      return true;
    }
  }
  return false;
}

void Worker::continue_at(uint32_t linear) {
  Fiber& from = now();
  Fiber& to = fibers_[linear];
  if (&from == &to) return;
  thread_now = &to;
  switch_context(&from.context, to.context);
}

// The current thread cannot go on: someone else's turn, until it is made ready and chosen.
void Worker::wait_turn() {
  if (options_.checked) deliver_some();
  uint32_t linear;
  if (!next_ready(&linear)) {
    error_ = report("deadlock: every thread of the block waits") + waiting();
    stop();
  }
  continue_at(linear);
}

// The current thread could go on; under a random schedule it may not be the next.
void Worker::give_way() {
  if (options_.checked) wait_turn();
}

// ---- meeting points

void Worker::barrier(Site site) {
  const uint32_t linear = now().linear, bit = 1u << linear % 32;
  WarpState& warp = warps_[linear / 32];
  if (warp.arrived || (warp.at_barrier && (warp.barrier.line != site.line || warp.barrier.file != site.file))) {
    error_ = report("lanes of one warp diverge: this one reached block_sync at " + std::string(site.file) + ":" +
                    std::to_string(site.line)) + waiting();
    stop();
  }
  warp.barrier = site;
  warp.at_barrier |= bit;
  warp.ready &= ~bit;
  now().passed = site;
  if (++at_barrier_ < live_) return wait_turn();
  if (live_ < threads_) {
    error_ = report(std::to_string(threads_ - live_) + " threads of the block returned before this block_sync") + waiting();
    stop();
  }
  for (auto& each : warps_) {
    each.ready = each.at_barrier;
    each.at_barrier = 0;
  }
  at_barrier_ = 0;
  give_way();
}

void Worker::meet(Collective what, Site site, void* payload, void (*complete)(void* const payloads[32])) {
  const uint32_t linear = now().linear, bit = 1u << linear % 32;
  WarpState& warp = warps_[linear / 32];
  const bool other = warp.arrived && (warp.what != what || warp.meeting.line != site.line || warp.meeting.file != site.file);
  if (other || warp.at_barrier || ~warp.live) {
    error_ = report("lanes of one warp diverge: this one reached " + std::string(site.file) + ":" +
                    std::to_string(site.line) + ", which needs all 32") + waiting();
    stop();
  }
  warp.what = what;
  warp.meeting = site;
  warp.payloads[linear % 32] = payload;
  warp.arrived |= bit;
  now().passed = site;
  if (~warp.arrived) {
    warp.ready &= ~bit;
    return wait_turn();
  }
  warp.arrived = 0;
  warp.ready = warp.live;
  complete(warp.payloads);
  give_way();
}

// ---- memory

uint8_t* Worker::check_global(uint64_t address, uint32_t bytes, uint32_t alignment, Access access) {
  std::string why;
  uint8_t* at = memory_.range(address, bytes, &why);
  if (!at) {
    error_ = report(std::string(access == Access::Read ? "read" : "write") + " of global memory, " + why);
  } else if (reinterpret_cast<uint64_t>(at) % alignment) {
    error_ = report("misaligned access of global memory, " + describe_range(*memory_.owner(address), address, bytes));
  } else {
    return at;
  }
  std::string().swap(why);
  stop();
  return nullptr;
}

uint8_t* Worker::check_shared(uint32_t address, uint32_t bytes, uint32_t alignment, Access access) {
  const uint32_t offset = address - SHARED_BASE;
  const char* wrong = address < SHARED_BASE || offset > view_.shared_bytes || bytes > view_.shared_bytes - offset ? "out of bounds"
                      : offset % alignment ? "misaligned" : nullptr;
  if (!wrong) return view_.shared + offset;
  error_ = report(std::string(access == Access::Read ? "read" : "write") + " of shared memory, " + wrong + ": " +
                  std::to_string(bytes) + " bytes at byte " + std::to_string(static_cast<int32_t>(offset)) + " of " +
                  std::to_string(view_.shared_bytes));
  stop();
  return nullptr;
}

// ---- asynchronous copies

void Worker::deliver(const PendingCopy& copy) {
  uint8_t* to = view_.shared + (copy.to - SHARED_BASE);
  if (copy.valid) {
    memcpy(to, plain_pointer(copy.from), 16);
  } else {
    memset(to, 0, 16);
  }
}

void Worker::async_copy16(uint32_t to, uint64_t from, bool valid) {
  if (valid) check_global(from, 16, 16, Access::Read);
  check_shared(to, 16, 16, Access::Write);
  const PendingCopy copy{to, from, valid, now().groups};
  if (options_.delivery == Delivery::AtOnce) return deliver(copy);
  now().copies.push_back(copy);
}

void Worker::async_commit() { now().groups++; }

void Worker::async_wait(uint32_t newest_groups_left) {
  Fiber& fiber = now();
  auto left = fiber.copies.begin();
  for (const PendingCopy& copy : fiber.copies) {
    if (copy.group + newest_groups_left < fiber.groups) {
      deliver(copy);
    } else {
      *left++ = copy;
    }
  }
  fiber.copies.erase(left, fiber.copies.end());
  give_way();
}

// Random delivery: some copies of some thread arrive, in any order.
void Worker::deliver_some() {
  if (options_.delivery != Delivery::Random) return;
  auto& copies = fibers_[random_.below(threads_)].copies;
  for (uint32_t n = random_.below(static_cast<uint32_t>(copies.size()) + 1); n > 0; n--) {
    const uint32_t i = random_.below(static_cast<uint32_t>(copies.size()));
    deliver(copies[i]);
    copies[i] = copies.back();
    copies.pop_back();
  }
}

// ---- reports

static std::string text(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

std::string Worker::report(const std::string& what) {
  std::string text_ = what + "\n  where: kernel " + launch_->kernel->name + " (" + launch_->label + "), block " +
                      text(view_.index) + " of " + text(view_.grid_dim) + ", thread " + text(now().index) + " of " +
                      text(view_.block_dim);
  if (now().passed.file) text_ += ", last wait " + std::string(now().passed.file) + ":" + std::to_string(now().passed.line);
  return text_;
}

// Who waits where, a line a place.
std::string Worker::waiting() {
  std::string lines;
  for (size_t w = 0; w < warps_.size(); w++) {
    const WarpState& warp = warps_[w];
    auto add = [&](uint32_t lanes, const char* how, Site site) {
      char mask[16];
      snprintf(mask, sizeof mask, "%08x", lanes);
      lines += "\n  warp " + std::to_string(w) + ", lanes " + mask + ": " + how + " " + site.file + ":" + std::to_string(site.line);
    };
    if (warp.at_barrier) add(warp.at_barrier, "in block_sync at", warp.barrier);
    if (warp.arrived) add(warp.arrived, "in a warp collective at", warp.meeting);
  }
  return lines;
}

// ---- what kernels call

void block_barrier(Site site) { worker_now->barrier(site); }
void meet(Collective what, Site site, void* payload, void (*complete)(void* const payloads[32])) {
  worker_now->meet(what, site, payload, complete);
}
uint8_t* check_global(uint64_t address, uint32_t bytes, uint32_t alignment, Access access) {
  return worker_now->check_global(address, bytes, alignment, access);
}
uint8_t* check_shared(uint32_t address, uint32_t bytes, uint32_t alignment, Access access) {
  return worker_now->check_shared(address, bytes, alignment, access);
}
void async_copy16(uint32_t to, uint64_t from, bool valid) { worker_now->async_copy16(to, from, valid); }
void async_commit() { worker_now->async_commit(); }
void async_wait(uint32_t newest_groups_left) { worker_now->async_wait(newest_groups_left); }

}  // namespace emu
