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
  const uint32_t thread = now().slot;
  return {access, scope, cluster_, thread, order_.now(), thread, false, knowledge(thread)};
}

Accessor Worker::accessor(Access access, uint32_t scope, uint32_t actor, uint32_t stamp) {
  const uint32_t thread = now().slot;
  return {access, scope, cluster_, actor, stamp, thread, true, knowledge(thread)};
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
    return {Conflict::Uninitialised, who.cluster, who.actor};
  }
  return {};
}

uint8_t* Worker::check_global(uint64_t address, uint32_t bytes, uint32_t alignment, Access access) {
  return check_global(address, bytes, alignment, accessor(access, launch_->number));
}

uint8_t* Worker::check_shared(uint32_t address, uint32_t bytes, uint32_t alignment, Access access) {
  return check_shared(block_now(), address, bytes, alignment, accessor(access, runs_));
}

static std::string title(const Accessor& who) {
  return (who.asynchronous ? "asynchronous " : "") + std::string(name(who.access));
}

uint8_t* Worker::check_global(uint64_t address, uint32_t bytes, uint32_t alignment, const Accessor& who) {
  Allocation* in = memory_.owner(address);
  if (!in) {
    fail(title(who) + " of global memory: " + NO_ALLOCATION);
  }
  const int64_t at = Memory::offset(*in, address);
  auto failed = [&](const std::string& why) {
    fail(title(who) + " of global memory, " + why + "\n  memory: " + describe_range(*in, address, bytes));
  };
  if (!in->holds(at, bytes)) failed("out of bounds");
  if (at % alignment) failed("misaligned: the address must be a multiple of " + std::to_string(alignment));
  if (!options_.checked) return in->bytes + at;
  const Finding found = inspect(in->shadow, static_cast<size_t>(at), bytes, who);
  if (found.conflict != Conflict::None) failed(describe(found, who));
  return in->bytes + at;
}

uint8_t* Worker::check_shared(Block& block, uint32_t address, uint32_t bytes, uint32_t alignment, const Accessor& who) {
  const int64_t at = int64_t{address} - SHARED_BASE, size = block.view.shared_bytes;
  auto failed = [&](const std::string& why) {
    fail(title(who) + " of shared memory, " + why + "\n  memory: " + std::to_string(bytes) + " bytes at byte " +
         std::to_string(at) + " of the block's " + std::to_string(size));
  };
  if (at < 0 || at + bytes > size) failed("out of bounds");
  if (at % alignment) failed("misaligned: the address must be a multiple of " + std::to_string(alignment));
  if (!options_.checked) return block.view.shared + at;
  const Finding found = inspect(block.shadow, static_cast<size_t>(at), bytes, who);
  if (found.conflict != Conflict::None) failed(describe(found, who));
  return block.view.shared + at;
}

// `thread 33`, `asynchronous work`
std::string Worker::name(uint32_t actor) const {
  if (actor < threads_) return "thread " + std::to_string(actor % block_threads());
  for (const Block& block : blocks_) {
    for (const Mbarrier& barrier : block.mbarriers) {
      if (barrier.actor == actor) return "copies that report to " + state(barrier);
    }
  }
  for (const Warpgroup& group : groups_) {
    if (group.actor == actor)
      return "wgmma of warpgroup " + std::to_string(&group - groups_.data()) + " of the cluster";
  }
  for (const StoreQueue& queue : stores_) {
    if (queue.reads == actor || queue.writes == actor)
      return "bulk stores of " + name(queue.thread);
  }
  return "asynchronous work";
}

// `written by thread 33 with no barrier between`
std::string Worker::describe(const Finding& finding, const Accessor& who) const {
  std::string other = name(finding.actor);
  const char* unordered = " with no barrier between";
  if (finding.cluster != who.cluster) {
    const auto ranks = static_cast<uint32_t>(blocks_.size());
    other = "thread " + std::to_string(finding.actor % block_threads()) + " of block " +
            std::to_string(finding.cluster * ranks + finding.actor / block_threads());
    unordered = ": the blocks of a launch have no order";
  } else if (finding.actor >= threads_) {
    unordered = ", not waited for";
  } else if (finding.actor / block_threads() != now().rank) {
    other += " of another block of the cluster";
  }
  switch (finding.conflict) {
    case Conflict::WithWrite: return "written by " + other + unordered;
    case Conflict::WithRead: return "read by " + other + unordered;
    case Conflict::WithReadElsewhere: return "read by other blocks: the blocks of a launch have no order";
    case Conflict::WithCopy: return "where an asynchronous copy by " + other + " is under way, not waited for";
    case Conflict::WithUnfenced: return "written by " + other + " with no fence_async between";
    case Conflict::Uninitialised: return "never written";
    case Conflict::None: break;
  }
  return {};
}

// ---- asynchronous copies

// The bytes arrive; until the thread's own wait they may not be touched.
void Worker::deliver(PendingCopy& copy) {
  if (copy.delivered) return;
  copy.delivered = true;
  if (copy.valid) {
    memcpy(copy.to, plain_pointer(copy.from), 16);
  } else {
    memset(copy.to, 0, 16);
  }
}

void Worker::async_copy16(uint32_t to, uint64_t from, bool valid) {
  if (valid) check_global(from, 16, 16, Access::Read);
  uint8_t* at = check_shared(to, 16, 16, Access::AsyncCopy);
  now().copies.push_back({at, to - SHARED_BASE, from, valid, now().groups, false});
  if (options_.delivery == Delivery::AtOnce) deliver(now().copies.back());
}

void Worker::async_wait(uint32_t newest_groups_left) {
  Fiber& fiber = now();
  auto left = fiber.copies.begin();
  for (PendingCopy& copy : fiber.copies) {
    if (copy.group + newest_groups_left < fiber.groups) {
      deliver(copy);
      if (options_.races) block_now().shadow.arrive(copy.offset, 16, accessor(Access::AsyncCopy, runs_));
    } else {
      *left++ = copy;
    }
  }
  fiber.copies.erase(left, fiber.copies.end());
  give_way();
}

// Random delivery: some copies of some thread arrive, in any order; some boxes do; some products are computed.
void Worker::deliver_some() {
  auto& copies = fibers_[random_.below(threads_)].copies;
  if (!copies.empty()) {
    for (uint32_t n = random_.below(static_cast<uint32_t>(copies.size()) + 1); n > 0; n--)
      deliver(copies[random_.below(static_cast<uint32_t>(copies.size()))]);
  }
  if (!launch_->kernel->cluster) return;
  for (uint32_t n = random_.below(static_cast<uint32_t>(loads_.size()) + 1); n > 0; n--)
    deliver(random_.below(static_cast<uint32_t>(loads_.size())));
  if (Warpgroup& group = groups_[random_.below(static_cast<uint32_t>(groups_.size()))]; !group.products.empty())
    carry_out_products(group, random_.below(static_cast<uint32_t>(group.products.size()) + 1));
  for (StoreQueue& queue : stores_) {
    for (PendingStore& store : queue.pending) {
      if (random_.below(4) == 0) carry_out(store);
    }
  }
}

}  // namespace emu
