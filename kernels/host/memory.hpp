// Emulated device memory: allocations that know their name and are filled with NaN bits until written.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime.hpp"
#include "shadow.hpp"

namespace emu {

// 0xFF in every byte is a NaN in f64, f32, tf32, f16 and bf16.
constexpr uint8_t POISON = 0xFF;
// Around every allocation; the fast build, which checks no access, leaves its tracks here.
constexpr size_t RED_ZONE = 256;
constexpr uint8_t RED = 0xA5;

extern const char* const NO_ALLOCATION;

struct Allocation {
  std::string label;
  uint8_t* bytes;  // 256-byte aligned, red zones on both sides
  size_t size;
  bool holds(int64_t at, size_t count) const {
    return at >= 0 && static_cast<uint64_t>(at) <= size && count <= size - static_cast<uint64_t>(at);
  }
  Shadow shadow;  // covers nothing in the fast build
};

class Memory {
 public:
  // `shadowed`: every allocation gets shadow memory, 12 bytes a byte or more.
  explicit Memory(bool shadowed);
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory();

  // A tagged address, or 0 when the system gives no more memory.
  uint64_t alloc(size_t bytes, const char* label);
  bool free(uint64_t address);

  // The allocation an address was made from, wherever it points now; nullptr when it is none of this device's.
  Allocation* owner(uint64_t address) const { return by_tag_[address >> TAG_SHIFT]; }
  // Where in it an address points; may be outside.
  static int64_t offset(const Allocation& in, uint64_t address) {
    return static_cast<int64_t>((address & POINTER_MASK) - reinterpret_cast<uint64_t>(in.bytes));
  }
  // For the host's own accesses: host pointer to [address, address + bytes), or nullptr and the reason.
  uint8_t* range(uint64_t address, size_t bytes, std::string* error) const;
  // The same for a write, after which those bytes count as initialised.
  uint8_t* writable(uint64_t address, size_t bytes, std::string* error);
  // The first allocation whose red zones were written over, or nullptr. Restores them, so that the next launch answers
  // only for itself.
  const Allocation* overrun();

 private:
  bool shadowed_;
  Allocation** by_tag_;  // from calloc: of 65,536 entries, those used take memory
  std::vector<uint32_t> live_;
};

// `"X_1": 4 bytes at byte 128 of 64`
std::string describe_range(const Allocation& in, uint64_t address, size_t bytes);

}  // namespace emu
