// Fibers: a stack and the place where its thread stopped. Switching is a handful of instructions, since one warp
// collective costs 32 of them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__x86_64__) || defined(__aarch64__)
#define EMU_OWN_SWITCH 1
#endif

namespace emu {

// What a stopped thread needs to go on: on x86_64 and aarch64 its stack pointer (the registers that a call must
// keep are on the stack), elsewhere a ucontext_t.
using Context = void*;

// Saves the caller in `from` and continues `to`.
void switch_context(Context* from, Context to);

// Stacks of one OS thread, kept from launch to launch.
class Stacks {
 public:
  Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks();

  // A context on stack i that calls `entry`, which must not return. Creates stacks up to i when there are fewer;
  // nullptr when the system gives no more memory.
  Context start(size_t i, void (*entry)());

 private:
  std::vector<uint8_t*> stacks_;
  std::vector<void*> contexts_;  // ucontext_t, where that is what a Context is
};

}  // namespace emu
