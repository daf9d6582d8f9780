// Kernels that try the foundation itself: tests/cuda/test_emulation.py calls them, those with a fault on purpose only
// on the CPU.
#include "cuda_harness/harness.h"

#include "base/cuda/launch.cuh"
#include "base/cuda/mma.cuh"
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
__global__ void reverse_kernel(const int32_t* from, int64_t rows, int32_t* to) {
  KSEG_DYNAMIC_SHARED(row, int32_t);
  for (int64_t index = blockIdx.x; index < rows; index += gridDim.x) {
    __syncthreads();  // the row of before has been read
    row[threadIdx.x] = from[index * kThreads + threadIdx.x];
    __syncthreads();
    to[index * kThreads + threadIdx.x] = row[kThreads - 1 - threadIdx.x];
  }
}

// c = a * b for a [16][16] and b [16][8], copied to shared memory in the background; a by rows of a matrix, b
// transposed.
template <class T>
__global__ void matrix_kernel(const T* a, const T* b, float* c) {
  KSEG_SHARED(left, Packed<T, 8>[32]);
  KSEG_SHARED(right, Packed<T, 8>[32]);  // the second half is zero
  const int lane = lane_index();
  copy_async(&left[lane], a + lane * 8);
  end_copy_group();
  copy_async(&right[lane], b + lane % 16 * 8, lane < 16);
  end_copy_group();
  wait_for_copies<0>();
  __syncthreads();
  uint32_t of_a[4], of_b[4], used[2];
  load_matrices<false>(&left[lane % 16 * 2 + lane / 16], of_a);
  load_matrices<true>(&right[lane], of_b);
  used[0] = of_b[0];
  used[1] = of_b[1];
  float sum[4] = {};
  mma_16x8x16<T>(of_a, used, sum);
  for (int i = 0; i < 4; ++i)
    c[(lane / 4 + 8 * (i / 2)) * 8 + 2 * (lane % 4) + i % 2] = sum[i] + __uint_as_float(of_b[2]);
}

// The same for a [16][8] and b [8][8] of float, by TF32.
__global__ void tf32_kernel(const float* a, const float* b, float* c) {
  const int g = lane_index() / 4, t = lane_index() % 4;
  const uint32_t of_a[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]), to_tf32(a[g * 8 + t + 4]),
                            to_tf32(a[(g + 8) * 8 + t + 4])};
  const uint32_t of_b[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  float sum[4] = {};
  mma_16x8x8_tf32(of_a, of_b, sum);
  for (int i = 0; i < 4; ++i) c[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sum[i];
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
                call.context(), from.data, from.shape[0], call.array<int32_t, 2>(1).data);
}

KSEG_HARNESS(selftest_matrix) {
  using namespace kseg;
  if (call.dtype(0) == Dtype::kFloat32) {
    return launch(&tf32_kernel, blocks_for(1, kWarpSize), call.context(), call.array<const float, 2>(0).data,
                  call.array<const float, 2>(1).data, call.array<float, 2>(2).data);
  }
  return call.visit_dtype<Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return launch(&matrix_kernel<T>, blocks_for(1, kWarpSize), call.context(), call.array<const T, 2>(0).data,
                  call.array<const T, 2>(1).data, call.array<float, 2>(2).data);
  });
}

KSEG_HARNESS(selftest_fault) {
  using namespace kseg;
  return launch(&faulty_kernel, blocks_for(1, kThreads), call.context(), call.array<const int32_t, 1>(0).data,
                static_cast<int>(call.integer(0)), call.array<int32_t, 1>(1).data);
}

// Elements, threads -> the shapes of threads_for(), blocks_for() and, as a block's x, block_threads().
KSEG_HARNESS(selftest_shapes) {
  using namespace kseg;
  const int threads = static_cast<int>(call.integer(1));
  call.store_shape(0, threads_for(call.integer(0), threads));
  call.store_shape(1, blocks_for(call.integer(0), threads));
  call.store_shape(2, {{1, 1, 1}, {block_threads(call.integer(0), threads), 1, 1}, 0});
  return check_launch_shape({{call.integer(2), 1, 1}, {threads, 1, 1}, call.integer(3)});
}
