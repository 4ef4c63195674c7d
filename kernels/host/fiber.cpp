// Context switches, written out for x86_64 (System V) and aarch64, by ucontext elsewhere.
#include "fiber.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <mutex>

#ifndef EMU_OWN_SWITCH
#include <ucontext.h>
#endif
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace emu {
namespace {

constexpr size_t STACK_BYTES = 128 << 10;
// Stacks a power of two apart put the hot ends of all of them into the same cache sets, so each starts a different
// number of lines below its end: 13 lines is coprime to the 64 sets of a first-level cache.
constexpr size_t COLOURS = 16 << 10, COLOUR_STEP = 13 * 64;

// Stacks that no device uses. Making one takes three system calls and a page fault, far more than a small launch.
struct Spare {
  std::mutex lock;
  std::vector<uint8_t*> stacks;
};
Spare& spare() {
  static Spare pool;
  return pool;
}

uint8_t* take_stack() {
  {
    std::lock_guard<std::mutex> guard(spare().lock);
    if (!spare().stacks.empty()) {
      uint8_t* stack = spare().stacks.back();
      spare().stacks.pop_back();
      return stack;
    }
  }
  const size_t guard = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* at = mmap(nullptr, STACK_BYTES + guard, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return nullptr;
  mprotect(at, guard, PROT_NONE);  // running over the end faults at once instead of reaching another stack
  return static_cast<uint8_t*>(at);
}

void give_stacks(const std::vector<uint8_t*>& stacks) {
  std::lock_guard<std::mutex> guard(spare().lock);
  spare().stacks.insert(spare().stacks.end(), stacks.begin(), stacks.end());
}

// A fiber that was left behind in the middle of its frames leaves the marks of AddressSanitizer around them.
void forget_frames([[maybe_unused]] uint8_t* stack) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack + sysconf(_SC_PAGESIZE), STACK_BYTES);
#endif
}

size_t mapped_bytes() { return STACK_BYTES + static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

uint8_t* stack_top(uint8_t* stack, size_t i) { return stack + mapped_bytes() - (i * COLOUR_STEP) % COLOURS; }

}  // namespace

#if defined(EMU_OWN_SWITCH) && defined(__x86_64__)

// x86_64. rdi: where to save, rsi: what to continue.
__asm__(R"(
.text
.p2align 4
.globl cbp_emu_switch
.hidden cbp_emu_switch
cbp_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
extern "C" void cbp_emu_switch(Context* from, Context to) __asm__("cbp_emu_switch");

static Context first_frame(uint8_t* top, void (*entry)()) {
  auto* sp = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{15});
  *--sp = 0;  // where entry would return to: never; also makes rsp + 8 a multiple of 16 at entry, as after a call
  *--sp = reinterpret_cast<uint64_t>(entry);
  for (int saved = 0; saved < 6; saved++) *--sp = 0;
  return sp;
}

#elif defined(EMU_OWN_SWITCH)

// aarch64. x0: where to save, x1: what to continue. Callee-saved: x19-x30, the low halves of v8-v15.
__asm__(R"(
.text
.p2align 4
.globl cbp_emu_switch
cbp_emu_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
extern "C" void cbp_emu_switch(Context* from, Context to) __asm__("cbp_emu_switch");

static Context first_frame(uint8_t* top, void (*entry)()) {
  auto* sp = reinterpret_cast<uint64_t*>((reinterpret_cast<uintptr_t>(top) & ~uintptr_t{15}) - 160);
  for (int saved = 0; saved < 20; saved++) sp[saved] = 0;
  sp[11] = reinterpret_cast<uint64_t>(entry);  // x30
  return sp;
}

#endif

#ifdef EMU_OWN_SWITCH

void switch_context(Context* from, Context to) { cbp_emu_switch(from, to); }

Context Stacks::start(size_t i, void (*entry)()) {
  while (stacks_.size() <= i) {
    uint8_t* stack = take_stack();
    if (!stack) return nullptr;
    stacks_.push_back(stack);
  }
  forget_frames(stacks_[i]);
  return first_frame(stack_top(stacks_[i], i), entry);
}

Stacks::~Stacks() { give_stacks(stacks_); }

#else

// The context a caller saves into is one that it owns: the thread's own, or the scheduler's.
void switch_context(Context* from, Context to) {
  static thread_local ucontext_t main_context;
  if (!*from) *from = &main_context;
  swapcontext(static_cast<ucontext_t*>(*from), static_cast<ucontext_t*>(to));
}

Context Stacks::start(size_t i, void (*entry)()) {
  while (stacks_.size() <= i) {
    uint8_t* stack = take_stack();
    if (!stack) return nullptr;
    stacks_.push_back(stack);
    contexts_.push_back(new ucontext_t);
  }
  forget_frames(stacks_[i]);
  auto* context = static_cast<ucontext_t*>(contexts_[i]);
  getcontext(context);
  const size_t guard = mapped_bytes() - STACK_BYTES;
  context->uc_stack.ss_sp = stacks_[i] + guard;
  context->uc_stack.ss_size = static_cast<size_t>(stack_top(stacks_[i], i) - stacks_[i]) - guard;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

Stacks::~Stacks() {
  give_stacks(stacks_);
  for (void* context : contexts_) delete static_cast<ucontext_t*>(context);
}

#endif

}  // namespace emu
