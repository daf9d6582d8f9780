// Runs a grid on the CPU with the semantics of a GPU, to prove kernels, not to be fast.
//
// Blocks run one after another and the threads of a block as fibres, each up to its next barrier or warp operation.
// Whatever a GPU leaves open is varied by the settings, so that a result that depends on it differs between two runs:
// the order of blocks, the order of threads between barriers, the contents of shared memory, and what a shuffle returns
// from a lane that does not take part. These end a kernel with an error: a barrier that not every thread of the block
// reaches, a warp operation that not every lane of its mask reaches, writes beyond shared arrays, misaligned vectors.
#ifndef KSEG_BASE_CUDA_HOST_EMULATION_H_
#define KSEG_BASE_CUDA_HOST_EMULATION_H_

#include <cstdint>
#include <string>
#include <type_traits>

#include "base/cuda/launch_shape.h"
#include "base/status.h"

namespace kseg::emulation {

enum class Order : int { kForward, kBackward, kShuffled };

struct Settings {
  Order order = Order::kForward;
  uint64_t seed = 0;  // of kShuffled
  unsigned char poison = 0xff;  // what undefined bytes hold; 0xff is NaN in every float format
};

// For the launches to come, of the whole process.
void set_settings(const Settings& settings);
const Settings& settings();

// Calls body() for every thread of the grid. One grid at a time in a process.
Status run_grid_of(const LaunchShape& shape, void (*body)(void*), void* closure);
template <class Body>
Status run_grid(const LaunchShape& shape, Body&& body) {
  return run_grid_of(shape, [](void* closure) { (*static_cast<std::remove_reference_t<Body>*>(closure))(); }, &body);
}

// -- called by threads of the running grid
// -----------------------------------------------------------------------------

struct Site {
  const char* file;
  int line;
};

// Ends the kernel with an error that names the thread; never returns.
[[noreturn]] void fail(const std::string& message, Site site);

// Waits for every thread of the block and returns how many passed a predicate that is true.
int block_barrier(bool predicate, Site site);

// What a warp operation works on: for each lane that takes part its operand, else null.
struct Lanes {
  void* operand[kWarpSize];
  uint32_t mask;

  bool takes_part(int lane) const { return operand[lane] != nullptr; }
};
using WarpOperation = void (*)(Lanes&);

// Waits for the lanes of `mask`, which must come with the same operation; then `operation` sees the operands of all.
void warp_operation(uint32_t mask, WarpOperation operation, void* operand, Site site);

int lane();

// The shared array of the running block that `key` stands for.
void* shared_array(const void* key, int64_t bytes, int64_t alignment, Site site);
void* dynamic_shared();

// A queue per thread of copies that have been asked for but not waited for (cp.async). From null: zeros.
void queue_copy(void* to, const void* from, int bytes);
void commit_copies();
void wait_for_copies(int most_pending);

}  // namespace kseg::emulation

#endif  // KSEG_BASE_CUDA_HOST_EMULATION_H_
