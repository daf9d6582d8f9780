#include "base/cuda/host/fibre.h"

#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Pushes what a call must keep, exchanges the stacks, and pops the same from the other. swapcontext() would do, but
// asks the kernel about signals each time, and kernels of warp reductions switch a million times a second.
asm(R"(
.text
.hidden kseg_switch_fibre
.globl kseg_switch_fibre
.type kseg_switch_fibre, @function
kseg_switch_fibre:
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
.size kseg_switch_fibre, . - kseg_switch_fibre
)");
extern "C" void kseg_switch_fibre(void** leave, void* enter);
#endif

namespace kseg::emulation {

void Fibre::prepare(char* stack, size_t bytes, void (*entry)()) {
#if defined(__SANITIZE_ADDRESS__)
  // An abandoned fibre leaves marks of its variables there.
  __asan_unpoison_memory_region(stack, bytes);
#endif
  stack_ = stack;
  bytes_ = bytes;
  fake_stack_ = nullptr;
#if defined(__x86_64__)
  // As if `entry` had been called from nowhere: a return address of 0 above it, six registers below.
  const uintptr_t top = reinterpret_cast<uintptr_t>(stack + bytes) & ~uintptr_t{15};
  void** slots = reinterpret_cast<void**>(top) - 8;
  std::memset(slots, 0, 8 * sizeof(void*));
  slots[6] = reinterpret_cast<void*>(entry);
  stack_pointer_ = slots;
#else
  getcontext(&context_);
  context_.uc_stack.ss_sp = stack;
  context_.uc_stack.ss_size = bytes;
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fibre::switch_from(Fibre* from) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from->fake_stack_, stack_, bytes_);
#endif
#if defined(__x86_64__)
  kseg_switch_fibre(&from->stack_pointer_, stack_pointer_);
#else
  swapcontext(&from->context_, &context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  const void* stack;
  size_t bytes;
  __sanitizer_finish_switch_fiber(from->fake_stack_, &stack, &bytes);
#endif
}

void Fibre::entered([[maybe_unused]] Fibre* from) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &from->stack_, &from->bytes_);
#endif
}

}  // namespace kseg::emulation
