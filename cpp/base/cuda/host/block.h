// The threads and the shared memory of the block that runs.
#ifndef KSEG_BASE_CUDA_HOST_BLOCK_H_
#define KSEG_BASE_CUDA_HOST_BLOCK_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/cuda/host/emulation.h"
#include "base/cuda/host/fibre.h"
#include "base/cuda/launch_shape.h"

namespace kseg::emulation {

// Shared arrays of a block, each with guard bands on both sides.
class SharedMemory {
 public:
  static constexpr int64_t kGuardBytes = 64;

  SharedMemory();

  // Forgets all arrays, and makes one of the dynamic part.
  void reset(int64_t dynamic_bytes, unsigned char poison);
  // Null if a block has no room for it.
  void* find_or_make(const void* key, int64_t bytes, int64_t alignment, unsigned char poison);
  void* dynamic() { return dynamic_; }
  // Whether nothing has been written around the arrays.
  bool intact() const;

 private:
  struct Array {
    const void* key;
    unsigned char* memory;
    int64_t bytes;
  };

  unsigned char* make(const void* key, int64_t bytes, int64_t alignment, unsigned char poison);

  std::unique_ptr<unsigned char[]> memory_;
  std::vector<Array> arrays_;
  int64_t used_ = 0;    // with guards
  int64_t static_ = 0;  // bytes of arrays but the dynamic one
  void* dynamic_ = nullptr;
};

struct PendingCopy {
  void* to;
  const void* from;
  int bytes;
};

struct Thread {
  enum class State { kReady, kAtBarrier, kInWarpOperation, kDone };

  Fibre fibre;
  State state = State::kReady;
  Extent3 index;
  Site site{"", 0};  // where it waits
  bool predicate = false;
  uint32_t mask = 0;
  WarpOperation operation = nullptr;
  void* operand = nullptr;
  std::vector<std::vector<PendingCopy>> copies;  // groups; the last is open
};

class Block {
 public:
  // Runs all threads; on an error, says what was wrong and abandons them.
  Status run(const LaunchShape& shape, void (*body)(void*), void* closure, uint64_t number);

  SharedMemory& shared() { return shared_; }
  Thread& current() { return *current_; }
  int current_number() const { return static_cast<int>(current_ - threads_.data()); }
  void wait(Thread::State state, Site site);  // in the current thread
  void fail(const std::string& message, Site site);
  int barrier_count() const { return barrier_count_; }

 private:
  static void enter();
  std::vector<int> make_order(uint64_t seed) const;
  bool release_warps();
  bool release_barrier();
  bool release_group(int warp, int lane);
  void report_waiting();

  SharedMemory shared_;
  std::vector<Thread> threads_;
  std::vector<std::unique_ptr<char[]>> stacks_;
  Fibre scheduler_;
  Thread* current_ = nullptr;
  void (*body_)(void*) = nullptr;
  void* closure_ = nullptr;
  int barrier_count_ = 0;
  std::string error_;
};

// The one of this process.
Block& running_block();

}  // namespace kseg::emulation

#endif  // KSEG_BASE_CUDA_HOST_BLOCK_H_
