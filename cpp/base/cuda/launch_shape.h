// How many threads a kernel is launched with: plain host arithmetic, so that it can be tested for sizes that nobody
// runs.
#ifndef KSEG_BASE_CUDA_LAUNCH_SHAPE_H_
#define KSEG_BASE_CUDA_LAUNCH_SHAPE_H_

#include <algorithm>
#include <cstdint>

#include "base/status.h"

namespace kseg {

inline constexpr int kWarpSize = 32;
inline constexpr int kMostBlockThreads = 1024;
inline constexpr int64_t kMostGridX = 0x7fffffff;
inline constexpr int64_t kMostGridYZ = 65535;
inline constexpr int64_t kStaticSharedBytes = 48 << 10;  // what a block gets without asking
inline constexpr int64_t kMostSharedBytes = 99 << 10;    // what every supported architecture can give a block

struct Extent3 {
  int64_t x = 1;
  int64_t y = 1;
  int64_t z = 1;

  int64_t count() const { return x * y * z; }
};

struct LaunchShape {
  Extent3 grid;   // blocks
  Extent3 block;  // threads
  int64_t shared_bytes = 0;  // dynamic shared memory per block

  // Nothing to do: launch() then does nothing.
  bool empty() const { return grid.x == 0 || grid.y == 0 || grid.z == 0; }
};

inline Status check_launch_shape(const LaunchShape& shape) {
  const auto& [grid, block, shared_bytes] = shape;
  if (grid.x < 0 || grid.x > kMostGridX || grid.y < 0 || grid.y > kMostGridYZ || grid.z < 0 || grid.z > kMostGridYZ) {
    return internal_error("a grid of ", grid.x, " x ", grid.y, " x ", grid.z, " blocks cannot be launched");
  }
  if (block.x < 1 || block.y < 1 || block.z < 1 || block.x > kMostBlockThreads || block.y > kMostBlockThreads ||
      block.z > 64 || block.count() > kMostBlockThreads) {
    return internal_error("a block of ", block.x, " x ", block.y, " x ", block.z, " threads cannot be launched");
  }
  if (shared_bytes < 0 || shared_bytes > kMostSharedBytes) {
    return internal_error("a block cannot have ", shared_bytes, " bytes of dynamic shared memory");
  }
  return Status();
}

#if defined(__CUDACC__)
#define KSEG_HOST_DEVICE __host__ __device__
#else
#define KSEG_HOST_DEVICE
#endif

// Rounds up; neither may be negative.
KSEG_HOST_DEVICE inline constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

#if defined(__CUDACC__)
inline int64_t most_blocks() { return kMostGridX; }
#else
// Tests make it small: then blocks take several units each, as on a GPU only those of sizes that nobody tests.
inline int64_t& most_blocks() {
  static int64_t blocks = kMostGridX;
  return blocks;
}
#endif

// One block per unit of work for a kernel whose blocks take every gridDim.x-th unit: any number of units.
inline LaunchShape blocks_for(int64_t units, int threads, int64_t shared_bytes = 0) {
  return {{std::clamp<int64_t>(units, 0, most_blocks()), 1, 1}, {threads, 1, 1}, shared_bytes};
}

// One thread per element for a kernel whose threads take every global_threads()-th element: any number of elements.
inline LaunchShape threads_for(int64_t elements, int threads = 256) {
  return blocks_for(ceil_div(std::max<int64_t>(elements, 0), threads), threads);
}

// Threads for `items` that a block shares out to its threads in turns: whole warps, at most `most`, and of those
// numbers that need the fewest turns the smallest.
inline constexpr int block_threads(int64_t items, int most = 256) {
  const int64_t turns = std::max<int64_t>(ceil_div(items, most), 1);
  const int64_t threads = ceil_div(ceil_div(items, turns), kWarpSize) * kWarpSize;
  return static_cast<int>(std::clamp<int64_t>(threads, kWarpSize, most));
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_LAUNCH_SHAPE_H_
