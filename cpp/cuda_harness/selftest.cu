// Kernels that try the foundation itself: tests/cuda/test_emulation.py calls them, those with a fault on purpose only
// on the CPU.
#include "cuda_harness/harness.h"

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "base/cuda/vector.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 128;

// to[i] = scale * from[i], in vectors.
template <class T>
__global__ void scale_kernel(const T* from, float scale, int64_t total, T* to) {
  constexpr int kCount = kVectorElements<T>;
  for (int64_t i = global_thread(); i < total / kCount; i += global_threads()) {
    float values[kCount];
    load_floats(from + i * kCount, values);
    for (int j = 0; j < kCount; ++j) values[j] *= scale;
    store_floats(to + i * kCount, values);
  }
  const int64_t left = total / kCount * kCount + global_thread();
  if (left < total) to[left] = narrow<T>(scale * widen(from[left]));
}

// Per row of kThreads values: their sums from the left, and in `totals` sum and maximum.
__global__ void __launch_bounds__(kThreads)
    scan_kernel(const int32_t* from, int64_t rows, int32_t* to, int32_t* totals) {
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    const int32_t value = from[row * kThreads + threadIdx.x];
    int32_t total;
    const int32_t before = block_exclusive_sum<kThreads>(value, &total);
    const int32_t most = block_reduce<kThreads>(value, Maximum());
    to[row * kThreads + threadIdx.x] = before;
    if (threadIdx.x == 0) {
      totals[2 * row] = total;
      totals[2 * row + 1] = most;
    }
  }
}

// Reverses each row of kThreads values through dynamic shared memory.
__global__ void reverse_kernel(const int32_t* from, int32_t* to) {
  KSEG_DYNAMIC_SHARED(row, int32_t);
  row[threadIdx.x] = from[blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x];
  __syncthreads();
  to[blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x] = row[kThreads - 1 - threadIdx.x];
}

enum Fault : int {
  kNone,
  kMissingBarrier,
  kDivergentBarrier,
  kBeyondShared,
  kInactiveLane,
  kMissingLane,
  kUninitialised,
  kMisaligned
};

// Each value plus that of its neighbour in the row, with a fault.
__global__ void faulty_kernel(const int32_t* from, int fault, int32_t* to) {
  KSEG_SHARED(row, int32_t[kThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const int next = (thread + 1) % kThreads;
  if (fault != kUninitialised || thread != 5) row[fault == kBeyondShared ? thread + 1 : thread] = from[thread];
  if (fault == kDivergentBarrier) {
    if (thread < kWarpSize) __syncthreads();
  } else if (fault != kMissingBarrier) {
    __syncthreads();
  }
  int32_t sum = row[thread] + row[next];
  if (fault == kInactiveLane && thread % kWarpSize < 16) sum += __shfl_sync(0xffffu, sum, 20);
  if (fault == kMissingLane && thread % kWarpSize < 16) sum += __shfl_sync(kFullMask, sum, 3);
  if (fault == kMissingLane) __syncthreads();
  if (fault == kMisaligned) {
    float values[4];
    load_floats(reinterpret_cast<const float*>(from) + 1, values);
    sum += static_cast<int32_t>(values[0]);
  }
  to[thread] = sum;
}

}  // namespace
}  // namespace kseg

KSEG_HARNESS(selftest_scale) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto from = call.array<const T, 1>(0);
    return launch(&scale_kernel<T>, threads_for(from.size(), kThreads), call.context(), from.data,
                  static_cast<float>(call.number(0)), from.size(), call.array<T, 1>(1).data);
  });
}

KSEG_HARNESS(selftest_scan) {
  using namespace kseg;
  const auto from = call.array<const int32_t, 2>(0);
  return launch(&scan_kernel, blocks_for(from.shape[0], kThreads), call.context(), from.data, from.shape[0],
                call.array<int32_t, 2>(1).data, call.array<int32_t, 2>(2).data);
}

KSEG_HARNESS(selftest_reverse) {
  using namespace kseg;
  const auto from = call.array<const int32_t, 2>(0);
  return launch(&reverse_kernel, blocks_for(from.shape[0], kThreads, kThreads * int64_t{sizeof(int32_t)}),
                call.context(), from.data, call.array<int32_t, 2>(1).data);
}

KSEG_HARNESS(selftest_fault) {
  using namespace kseg;
  return launch(&faulty_kernel, blocks_for(1, kThreads), call.context(), call.array<const int32_t, 1>(0).data,
                static_cast<int>(call.integer(0)), call.array<int32_t, 1>(1).data);
}
