// CUDA's names on the CPU: qualifiers, thread indices, vector types, shared memory and barriers. What is missing here
// and in the two headers below has not been needed yet: add it with the semantics of the CUDA programming guide.
#ifndef KSEG_BASE_CUDA_HOST_CUDA_NAMES_H_
#define KSEG_BASE_CUDA_HOST_CUDA_NAMES_H_

#include <math.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/cuda/host/emulation.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

namespace kseg::emulation {
struct Index3 {
  unsigned x, y, z;
};
}  // namespace kseg::emulation

extern kseg::emulation::Index3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

#define KSEG_SITE \
  ::kseg::emulation::Site { __FILE__, __LINE__ }

#define KSEG_DEVICE_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::kseg::emulation::fail("not so: " #condition, KSEG_SITE))

namespace kseg::emulation {
template <class T>
struct SharedType {
  using type = T;
};
template <class T>
T& shared(const void* key, Site site) {
  return *static_cast<T*>(shared_array(key, static_cast<int64_t>(sizeof(T)), alignof(T), site));
}
}  // namespace kseg::emulation

// One key per declaration and, in a template, per instance.
#define KSEG_SHARED(name, ...)                                                                       \
  static const char kseg_key_of_##name = 0;                                                          \
  auto& name = ::kseg::emulation::shared<typename ::kseg::emulation::SharedType<__VA_ARGS__>::type>( \
      &kseg_key_of_##name, KSEG_SITE)
#define KSEG_DYNAMIC_SHARED(name, ...) \
  __VA_ARGS__* const name = static_cast<__VA_ARGS__*>(::kseg::emulation::dynamic_shared())

#define __syncthreads() static_cast<void>(::kseg::emulation::block_barrier(false, KSEG_SITE))
#define __syncthreads_count(predicate) ::kseg::emulation::block_barrier((predicate) != 0, KSEG_SITE)
#define __syncthreads_or(predicate) static_cast<int>(::kseg::emulation::block_barrier((predicate) != 0, KSEG_SITE) > 0)
#define __syncthreads_and(predicate) \
  static_cast<int>(::kseg::emulation::block_barrier((predicate) == 0, KSEG_SITE) == 0)

inline void __threadfence() {}
inline void __threadfence_block() {}

#include "base/cuda/host/cuda_math.h"
#include "base/cuda/host/cuda_warp.h"

#endif  // KSEG_BASE_CUDA_HOST_CUDA_NAMES_H_
