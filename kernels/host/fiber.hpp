// Fibers: a stack and the place where its thread stopped.
//
// A warp collective costs 32 switches, so they are a handful of instructions where we know the machine: 78 M barrier
// waits a second on an EPYC core, 4 M with swapcontext, which enters the kernel for the signal mask.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

// EMU_UCONTEXT tries the portable way on any machine.
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(EMU_UCONTEXT)
#define EMU_OWN_SWITCH 1
#endif

namespace emu {

// What a stopped thread needs to go on: on x86_64 and aarch64 its stack pointer (the registers that a call must
// keep are on the stack), elsewhere a ucontext_t.
using Context = void*;

// Saves the caller in `from` and continues `to`.
void switch_context(Context* from, Context to);

// Stacks of one OS thread, kept from launch to launch, and by the process from device to device.
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
