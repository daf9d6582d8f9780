// Elements of float, Half and BFloat16 in device memory, read and written as float; several at once where they lie
// aligned.
#ifndef KSEG_BASE_CUDA_VECTOR_CUH_
#define KSEG_BASE_CUDA_VECTOR_CUH_

#include <cstdint>
#include <type_traits>

#include "base/cuda/device.cuh"
#include "base/half.h"

namespace kseg {

#if defined(__CUDACC__)
KSEG_DEVICE float widen(float value) { return value; }
KSEG_DEVICE float widen(Half value) { return __half2float(__ushort_as_half(value.bits)); }
KSEG_DEVICE float widen(BFloat16 value) { return __uint_as_float(static_cast<unsigned>(value.bits) << 16); }
template <class T>
KSEG_DEVICE T narrow(float value) {
  if constexpr (std::is_same<T, Half>::value) {
    return Half{__half_as_ushort(__float2half_rn(value))};
  } else if constexpr (std::is_same<T, BFloat16>::value) {
    return BFloat16{__bfloat16_as_ushort(__float2bfloat16_rn(value))};
  } else {
    return value;
  }
}
#else
template <class T>
float widen(T value) {
  return to_float(value);
}
template <class T>
T narrow(float value) {
  return from_float<T>(value);
}
#endif

// Two 16-bit numbers of a register, the first in the low half.
template <class T>
KSEG_DEVICE void widen_pair(uint32_t pair, float* low, float* high) {
  if constexpr (std::is_same<T, BFloat16>::value) {
    *low = __uint_as_float(pair << 16);
    *high = __uint_as_float(pair & 0xffff0000u);
  } else {
    *low = widen(T{static_cast<uint16_t>(pair)});
    *high = widen(T{static_cast<uint16_t>(pair >> 16)});
  }
}

// How many elements an access of 16 bytes holds.
template <class T>
inline constexpr int kVectorElements = 16 / static_cast<int>(sizeof(T));

template <class T, int count>
struct alignas(sizeof(T) * count <= 16 ? sizeof(T) * count : 16) Packed {
  T element[count];
};

template <int count, class T>
KSEG_DEVICE void check_aligned([[maybe_unused]] const T* at) {
  KSEG_DEVICE_CHECK(reinterpret_cast<uintptr_t>(at) % alignof(Packed<T, count>) == 0);
}

// `count` a power of two, `from` aligned to as many elements or 16 bytes, whichever is less.
template <int count, class T>
KSEG_DEVICE void load_floats(const T* from, float (&values)[count]) {
  check_aligned<count>(from);
  const Packed<T, count> packed = *reinterpret_cast<const Packed<T, count>*>(from);
#pragma unroll
  for (int i = 0; i < count; ++i) values[i] = widen(packed.element[i]);
}
template <int count, class T>
KSEG_DEVICE void store_floats(T* to, const float (&values)[count]) {
  check_aligned<count>(to);
  Packed<T, count> packed;
#pragma unroll
  for (int i = 0; i < count; ++i) packed.element[i] = narrow<T>(values[i]);
  *reinterpret_cast<Packed<T, count>*>(to) = packed;
}

// Whether rows of `row` elements, one after the other from `data` on, can be accessed `count` elements at a time.
template <class T>
bool rows_are_aligned(const T* data, int64_t row, int count) {
  return row % count == 0 &&
         reinterpret_cast<uintptr_t>(data) % (sizeof(T) * count <= 16 ? sizeof(T) * count : 16) == 0;
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_VECTOR_CUH_
