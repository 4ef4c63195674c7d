// Every access of the checked build: bounds, alignment, races, initialisation; and asynchronous copies.
#include "block.hpp"

namespace emu {

static const char* name(Access access) {
  switch (access) {
    case Access::Read: return "read";
    case Access::WarpRead: return "ldmatrix read";
    case Access::Write: return "write";
    case Access::Atomic: return "atomic update";
    case Access::AsyncCopy: return "asynchronous copy";
  }
  return "";
}

Accessor Worker::accessor(Access access, uint32_t scope) {
  return {access, scope, block_, now().linear, epoch_, warp_now().epoch};
}

Finding Worker::inspect(Shadow& shadow, size_t offset, uint32_t bytes, const Accessor& who) {
  if (options_.races) {
    const Finding found = shadow.touch(offset, bytes, who);
    if (found.conflict != Conflict::None) return found;
  }
  if (!options_.uninitialised) return {};
  if (who.access == Access::Write || who.access == Access::AsyncCopy) {
    shadow.set_written(offset, bytes, true);
  } else if (!shadow.written(offset, bytes)) {
    return {Conflict::Uninitialised, who.block, who.thread};
  }
  return {};
}

uint8_t* Worker::check_global(uint64_t address, uint32_t bytes, uint32_t alignment, Access access) {
  Allocation* in = memory_.owner(address);
  if (!in) {
    fail(std::string(name(access)) + " of global memory: " + NO_ALLOCATION);
  }
  const int64_t at = Memory::offset(*in, address);
  auto failed = [&](const std::string& why) {
    fail(std::string(name(access)) + " of global memory, " + why +
         "\n  memory: " + describe_range(*in, address, bytes));
  };
  if (!in->holds(at, bytes)) failed("out of bounds");
  if (at % alignment) failed("misaligned: the address must be a multiple of " + std::to_string(alignment));
  const Accessor who = accessor(access, launch_->number);
  const Finding found = inspect(in->shadow, static_cast<size_t>(at), bytes, who);
  if (found.conflict != Conflict::None) failed(describe(found, who));
  return in->bytes + at;
}

uint8_t* Worker::check_shared(uint32_t address, uint32_t bytes, uint32_t alignment, Access access) {
  const int64_t at = int64_t{address} - SHARED_BASE, size = view_.shared_bytes;
  auto failed = [&](const std::string& why) {
    fail(std::string(name(access)) + " of shared memory, " + why + "\n  memory: " + std::to_string(bytes) +
         " bytes at byte " + std::to_string(at) + " of the block's " + std::to_string(size));
  };
  if (at < 0 || at + bytes > size) failed("out of bounds");
  if (at % alignment) failed("misaligned: the address must be a multiple of " + std::to_string(alignment));
  const Accessor who = accessor(access, runs_);
  const Finding found = inspect(shared_shadow_, static_cast<size_t>(at), bytes, who);
  if (found.conflict != Conflict::None) failed(describe(found, who));
  return view_.shared + at;
}

// ---- asynchronous copies

// The bytes arrive; until the thread's own wait they may not be touched.
void Worker::deliver(PendingCopy& copy) {
  if (copy.delivered) return;
  copy.delivered = true;
  if (copy.valid) {
    memcpy(view_.shared + copy.to, plain_pointer(copy.from), 16);
  } else {
    memset(view_.shared + copy.to, 0, 16);
  }
}

void Worker::async_copy16(uint32_t to, uint64_t from, bool valid) {
  if (valid) check_global(from, 16, 16, Access::Read);
  check_shared(to, 16, 16, Access::AsyncCopy);
  now().copies.push_back({to - SHARED_BASE, from, valid, now().groups, false});
  if (options_.delivery == Delivery::AtOnce) deliver(now().copies.back());
}

void Worker::async_wait(uint32_t newest_groups_left) {
  Fiber& fiber = now();
  auto left = fiber.copies.begin();
  for (PendingCopy& copy : fiber.copies) {
    if (copy.group + newest_groups_left < fiber.groups) {
      deliver(copy);
      if (options_.races) shared_shadow_.arrive(copy.to, 16, accessor(Access::AsyncCopy, runs_));
    } else {
      *left++ = copy;
    }
  }
  fiber.copies.erase(left, fiber.copies.end());
  give_way();
}

// Random delivery: some copies of some thread arrive, in any order.
void Worker::deliver_some() {
  auto& copies = fibers_[random_.below(threads_)].copies;
  if (copies.empty()) return;
  for (uint32_t n = random_.below(static_cast<uint32_t>(copies.size()) + 1); n > 0; n--) {
    deliver(copies[random_.below(static_cast<uint32_t>(copies.size()))]);
  }
}

}  // namespace emu
