// Stackful threads that take turns on one thread of the CPU.
#ifndef KSEG_BASE_CUDA_HOST_FIBRE_H_
#define KSEG_BASE_CUDA_HOST_FIBRE_H_

#include <cstddef>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace kseg::emulation {

// A place to go on from: of a fibre, or of the thread that runs them. Under AddressSanitizer its stack is known to it.
class Fibre {
 public:
  // Makes the next switch to this fibre call `entry`, which must never return, on the given stack.
  void prepare(char* stack, size_t bytes, void (*entry)());

  // Leaves `from`, which is running, and goes on here.
  void switch_from(Fibre* from);

  // The first thing that `entry` calls, with the fibre that it was reached from.
  void entered(Fibre* from);

 private:
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
  [[maybe_unused]] void* fake_stack_ = nullptr;
  [[maybe_unused]] const void* stack_ = nullptr;
  [[maybe_unused]] size_t bytes_ = 0;
};

}  // namespace kseg::emulation

#endif  // KSEG_BASE_CUDA_HOST_FIBRE_H_
