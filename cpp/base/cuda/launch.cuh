// The only way a kernel is launched, on the device or on the CPU.
#ifndef KSEG_BASE_CUDA_LAUNCH_CUH_
#define KSEG_BASE_CUDA_LAUNCH_CUH_

#include <tuple>
#include <utility>

#include "base/cuda/context.h"
#include "base/cuda/device.cuh"
#include "base/cuda/launch_shape.h"
#include "base/status.h"

namespace kseg {

#if defined(__CUDACC__)

inline Status cuda_status(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return Status();
  const StatusCode code = error == cudaErrorMemoryAllocation ? StatusCode::kOutOfMemory : StatusCode::kInternal;
  cudaGetLastError();  // so that nobody else takes it for an error of theirs
  return make_status(code, what, ": ", cudaGetErrorName(error), ", ", cudaGetErrorString(error));
}

// Queues a kernel. Arguments are converted to the kernel's parameters. Errors of the launch itself are returned here,
// those of work queued earlier may be.
template <class... Parameters, class... Arguments>
Status launch(void (*kernel)(Parameters...), const LaunchShape& shape, const CudaContext& context,
              Arguments&&... arguments) {
  if (shape.empty()) return Status();
  KSEG_RETURN_IF_ERROR(check_launch_shape(shape));
  const auto dimensions = [](const Extent3& extent) {
    return dim3(static_cast<unsigned>(extent.x), static_cast<unsigned>(extent.y), static_cast<unsigned>(extent.z));
  };
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (shape.shared_bytes > kStaticSharedBytes) {
    KSEG_RETURN_IF_ERROR(cuda_status(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                          static_cast<int>(shape.shared_bytes)),
                                     "asking for shared memory"));
  }
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  return std::apply(
      [&](auto&... value) {
        void* pointers[] = {static_cast<void*>(&value)..., nullptr};
        return cuda_status(cudaLaunchKernel(function, dimensions(shape.grid), dimensions(shape.block), pointers,
                                            static_cast<size_t>(shape.shared_bytes), context.stream),
                           "launching a kernel");
      },
      values);
}

// Of the current device; may size grids, never results.
inline int multiprocessors() {
  int device = 0, count = 0;
  const bool known = cudaGetDevice(&device) == cudaSuccess &&
                     cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device) == cudaSuccess;
  return known && count > 0 ? count : 1;
}

// Queues memset and memcpy, for `count` elements of device memory.
template <class T>
Status fill_bytes(T* memory, int value, int64_t count, const CudaContext& context) {
  if (count == 0) return Status();
  return cuda_status(cudaMemsetAsync(memory, value, static_cast<size_t>(count) * sizeof(T), context.stream),
                     "filling device memory");
}
template <class T>
Status copy_elements(T* to, const T* from, int64_t count, const CudaContext& context) {
  if (count == 0) return Status();
  return cuda_status(
      cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(T), cudaMemcpyDeviceToDevice, context.stream),
      "copying device memory");
}
// Waits for the device: only for a caller that cannot allocate a result before it knows its size.
template <class T>
Status read_elements(T* to, const T* from, int64_t count, const CudaContext& context) {
  if (count == 0) return Status();
  KSEG_RETURN_IF_ERROR(cuda_status(
      cudaMemcpyAsync(to, from, static_cast<size_t>(count) * sizeof(T), cudaMemcpyDeviceToHost, context.stream),
      "copying device memory to the host"));
  return cuda_status(cudaStreamSynchronize(context.stream), "waiting for the device");
}

#else

inline int multiprocessors() { return 3; }

template <class... Parameters, class... Arguments>
Status launch(void (*kernel)(Parameters...), const LaunchShape& shape, const CudaContext&, Arguments&&... arguments) {
  if (shape.empty()) return Status();
  KSEG_RETURN_IF_ERROR(check_launch_shape(shape));
  const std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  return emulation::run_grid(shape, [&] { std::apply(kernel, values); });
}

template <class T>
Status fill_bytes(T* memory, int value, int64_t count, const CudaContext&) {
  if (count > 0) std::memset(static_cast<void*>(memory), value, static_cast<size_t>(count) * sizeof(T));
  return Status();
}
template <class T>
Status copy_elements(T* to, const T* from, int64_t count, const CudaContext&) {
  if (count > 0) std::memmove(static_cast<void*>(to), from, static_cast<size_t>(count) * sizeof(T));
  return Status();
}

template <class T>
Status read_elements(T* to, const T* from, int64_t count, const CudaContext& context) {
  return copy_elements(to, from, count, context);
}

#endif

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_LAUNCH_CUH_
