// The language that kernels are written in: CUDA, or the same on the CPU (host/), which proves kernels on machines
// without a GPU. README.md says what a kernel must not do to run on both.
#ifndef KSEG_BASE_CUDA_DEVICE_CUH_
#define KSEG_BASE_CUDA_DEVICE_CUH_

#include <cstdint>

#include "base/cuda/launch_shape.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace kseg {
template <class T>
struct SharedType {
  using type = T;
};
}  // namespace kseg

// KSEG_SHARED(tile, float[32][33]) declares shared memory; its contents are undefined at first.
#define KSEG_SHARED(name, ...) __shared__ typename ::kseg::SharedType<__VA_ARGS__>::type name
// KSEG_DYNAMIC_SHARED(buffer, T): T* buffer, the LaunchShape's shared_bytes, aligned to 16 bytes. Once per kernel.
#define KSEG_DYNAMIC_SHARED(name, ...)                                 \
  extern __shared__ __align__(16) unsigned char kseg_dynamic_shared[]; \
  __VA_ARGS__* const name = reinterpret_cast<__VA_ARGS__*>(kseg_dynamic_shared)
// KSEG_DEVICE_CHECK(condition): on the CPU a false condition ends the kernel with an error; on a GPU it costs nothing.
#define KSEG_DEVICE_CHECK(condition) static_cast<void>(0)

#else
#include "base/cuda/host/cuda_names.h"
#endif

#define KSEG_DEVICE __device__ __forceinline__
// Marks a kernel that may spill registers: KSEG_COLD __global__ void ... No other may (benchmarks/cuda/resources.py).
#define KSEG_COLD

namespace kseg {

// for (int64_t i = global_thread(); i < total; i += global_threads()), with threads_for(total).
KSEG_DEVICE int64_t global_thread() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }
KSEG_DEVICE int64_t global_threads() { return static_cast<int64_t>(gridDim.x) * blockDim.x; }

// Of a block of one dimension.
KSEG_DEVICE int lane_index() { return static_cast<int>(threadIdx.x) % kWarpSize; }
KSEG_DEVICE int warp_index() { return static_cast<int>(threadIdx.x) / kWarpSize; }

inline constexpr unsigned kFullMask = 0xffffffffu;

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_DEVICE_CUH_
