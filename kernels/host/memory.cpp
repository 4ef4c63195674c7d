#include "memory.hpp"

#include <atomic>
#include <cstdlib>
#include <new>

namespace emu {

const char* const NO_ALLOCATION =
    "the address is in no allocation of this device (freed, of another device, or never an address)";

namespace {

// Numbers go round through the whole process, so that an address of a closed device is not soon a valid one again.
uint32_t next_tag() {
  static std::atomic<uint32_t> counter{0};
  return counter.fetch_add(1) % 0xFFFF + 1;
}

}  // namespace

Memory::Memory(bool shadowed)
    : shadowed_(shadowed),
      by_tag_(static_cast<Allocation**>(std::calloc(size_t{1} << (64 - TAG_SHIFT), sizeof(Allocation*)))) {
  if (!by_tag_) throw std::bad_alloc();
}

static void release(Allocation* allocation) {
  std::free(allocation->bytes - RED_ZONE);
  delete allocation;
}

Memory::~Memory() {
  for (uint32_t tag : live_) release(by_tag_[tag]);
  std::free(by_tag_);
}

uint64_t Memory::alloc(size_t bytes, const char* label) {
  if (live_.size() >= 0xFFFF) return 0;
  const size_t padded = (bytes + 255) / 256 * 256 + 2 * RED_ZONE;
  auto* block = static_cast<uint8_t*>(std::aligned_alloc(256, padded));
  if (!block) return 0;
  memset(block, RED, padded);
  memset(block + RED_ZONE, POISON, bytes);
  uint32_t tag = next_tag();
  while (by_tag_[tag]) tag = next_tag();
  by_tag_[tag] = new Allocation{label, block + RED_ZONE, bytes, {}};
  if (shadowed_) by_tag_[tag]->shadow.cover(bytes);
  live_.push_back(tag);
  return uint64_t{tag} << TAG_SHIFT | reinterpret_cast<uint64_t>(block + RED_ZONE);
}

bool Memory::free(uint64_t address) {
  Allocation* in = owner(address);
  if (!in || offset(*in, address) != 0) return false;
  const uint32_t tag = static_cast<uint32_t>(address >> TAG_SHIFT);
  release(in);
  by_tag_[tag] = nullptr;
  live_.erase(std::find(live_.begin(), live_.end(), tag));
  return true;
}

uint8_t* Memory::range(uint64_t address, size_t bytes, std::string* error) const {
  const Allocation* in = owner(address);
  if (!in) {
    *error = NO_ALLOCATION;
    return nullptr;
  }
  const int64_t at = offset(*in, address);
  if (!in->holds(at, bytes)) {
    *error = "out of bounds: " + describe_range(*in, address, bytes);
    return nullptr;
  }
  return in->bytes + at;
}

uint8_t* Memory::writable(uint64_t address, size_t bytes, std::string* error) {
  uint8_t* at = range(address, bytes, error);
  if (at && shadowed_)
    owner(address)->shadow.set_written(static_cast<size_t>(offset(*owner(address), address)), bytes, true);
  return at;
}

const Allocation* Memory::overrun() {
  auto intact = [](const uint8_t* zone) {
    return std::all_of(zone, zone + RED_ZONE, [](uint8_t b) { return b == RED; });
  };
  const Allocation* first = nullptr;
  for (uint32_t tag : live_) {
    const Allocation& in = *by_tag_[tag];
    uint8_t *before = in.bytes - RED_ZONE, *after = in.bytes + in.size;
    if (intact(before) && intact(after)) continue;
    memset(before, RED, RED_ZONE);
    memset(after, RED, RED_ZONE);
    if (!first) first = &in;
  }
  return first;
}

std::string describe_range(const Allocation& in, uint64_t address, size_t bytes) {
  const int64_t at = Memory::offset(in, address);
  return "\"" + in.label + "\": " + std::to_string(bytes) + " bytes at byte " + std::to_string(at) + " of " +
         std::to_string(in.size);
}

}  // namespace emu
