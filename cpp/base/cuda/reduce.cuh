// Reductions and scans over the lanes of a warp and the threads of a block. Every lane, every thread must call them.
// The order of operations is fixed: sums of floats are the same from run to run.
#ifndef KSEG_BASE_CUDA_REDUCE_CUH_
#define KSEG_BASE_CUDA_REDUCE_CUH_

#include "base/cuda/device.cuh"

namespace kseg {

struct Add {
  template <class T>
  KSEG_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};
struct Minimum {
  template <class T>
  KSEG_DEVICE T operator()(T a, T b) const {
    return b < a ? b : a;
  }
};
struct Maximum {
  template <class T>
  KSEG_DEVICE T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

// In every lane the join of all.
template <class T, class Join>
KSEG_DEVICE T warp_reduce(T value, Join join) {
#pragma unroll
  for (int step = kWarpSize / 2; step > 0; step /= 2) value = join(value, __shfl_xor_sync(kFullMask, value, step));
  return value;
}

// The join of the lanes up to this one, itself included.
template <class T, class Join>
KSEG_DEVICE T warp_scan(T value, Join join) {
#pragma unroll
  for (int step = 1; step < kWarpSize; step *= 2) {
    const T before = __shfl_up_sync(kFullMask, value, step);
    if (lane_index() >= step) value = join(before, value);
  }
  return value;
}

// In every thread the join of all. `threads`: of the block, of one dimension, a multiple of kWarpSize.
template <int threads, class T, class Join>
KSEG_DEVICE T block_reduce(T value, Join join) {
  static_assert(threads % kWarpSize == 0 && threads <= kMostBlockThreads);
  constexpr int kWarps = threads / kWarpSize;
  KSEG_DEVICE_CHECK(blockDim.x == threads);
  KSEG_SHARED(parts, T[kWarps]);
  value = warp_reduce(value, join);
  __syncthreads();  // the parts of an earlier call have been read
  if (lane_index() == 0) parts[warp_index()] = value;
  __syncthreads();
  T total = parts[0];
  for (int warp = 1; warp < kWarps; ++warp) total = join(total, parts[warp]);
  return total;
}

// The sum of the threads before this one; `*total` that of all.
template <int threads, class T>
KSEG_DEVICE T block_exclusive_sum(T value, T* total) {
  static_assert(threads % kWarpSize == 0 && threads <= kMostBlockThreads);
  constexpr int kWarps = threads / kWarpSize;
  KSEG_DEVICE_CHECK(blockDim.x == threads);
  KSEG_SHARED(parts, T[kWarps]);
  const T inclusive = warp_scan(value, Add());
  __syncthreads();
  if (lane_index() == kWarpSize - 1) parts[warp_index()] = inclusive;
  __syncthreads();
  T before{}, sum{};
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp == warp_index()) before = sum;
    sum += parts[warp];
  }
  *total = sum;
  return before + inclusive - value;
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_REDUCE_CUH_
