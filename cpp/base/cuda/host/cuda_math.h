// CUDA's scalar functions and atomics on the CPU. cuda_names.h includes it.
#ifndef KSEG_BASE_CUDA_HOST_CUDA_MATH_H_
#define KSEG_BASE_CUDA_HOST_CUDA_MATH_H_

#include <math.h>

#include <algorithm>
#include <cstdint>
#include <cstring>

template <class T>
T __ldg(const T* from) {
  return *from;
}
template <class T>
T __ldcs(const T* from) {
  return *from;
}
template <class T>
void __stcs(T* to, T value) {
  *to = value;
}

inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __popcll(unsigned long long value) { return __builtin_popcountll(value); }
inline int __clz(int value) { return value == 0 ? 32 : __builtin_clz(static_cast<unsigned>(value)); }
inline int __clzll(long long value) {
  return value == 0 ? 64 : __builtin_clzll(static_cast<unsigned long long>(value));
}
inline int __ffs(int value) { return __builtin_ffs(value); }
inline int __ffsll(long long value) { return __builtin_ffsll(value); }
inline unsigned __brev(unsigned value) {
  unsigned result = 0;
  for (int bit = 0; bit < 32; ++bit) result |= (value >> bit & 1u) << (31 - bit);
  return result;
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31u));
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) << (shift & 31u) >> 32);
}

inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline int __float_as_int(float value) {
  int bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}
inline unsigned __float_as_uint(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline double __longlong_as_double(long long bits) {
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline long long __double_as_longlong(double value) {
  long long bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// Quick forms, which on a GPU are less exact.
inline float __expf(float value) { return expf(value); }
inline float __logf(float value) { return logf(value); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }

inline int min(int a, int b) { return std::min(a, b); }
inline unsigned min(unsigned a, unsigned b) { return std::min(a, b); }
inline long min(long a, long b) { return std::min(a, b); }
inline long long min(long long a, long long b) { return std::min(a, b); }
inline int max(int a, int b) { return std::max(a, b); }
inline unsigned max(unsigned a, unsigned b) { return std::max(a, b); }
inline long max(long a, long b) { return std::max(a, b); }
inline long long max(long long a, long long b) { return std::max(a, b); }

// One thread of the CPU runs all of the grid's: plain operations are atomic. They return what was there before.
template <class T>
T atomicExch(T* at, T value) {
  const T before = *at;
  *at = value;
  return before;
}
template <class T>
T atomicAdd(T* at, T value) {
  return atomicExch(at, static_cast<T>(*at + value));
}
template <class T>
T atomicSub(T* at, T value) {
  return atomicExch(at, static_cast<T>(*at - value));
}
template <class T>
T atomicMin(T* at, T value) {
  return atomicExch(at, std::min(*at, value));
}
template <class T>
T atomicMax(T* at, T value) {
  return atomicExch(at, std::max(*at, value));
}
template <class T>
T atomicAnd(T* at, T value) {
  return atomicExch(at, static_cast<T>(*at & value));
}
template <class T>
T atomicOr(T* at, T value) {
  return atomicExch(at, static_cast<T>(*at | value));
}
template <class T>
T atomicXor(T* at, T value) {
  return atomicExch(at, static_cast<T>(*at ^ value));
}
template <class T>
T atomicCAS(T* at, T compare, T value) {
  return *at == compare ? atomicExch(at, value) : *at;
}
inline unsigned atomicInc(unsigned* at, unsigned most) { return atomicExch(at, *at >= most ? 0u : *at + 1u); }

#endif  // KSEG_BASE_CUDA_HOST_CUDA_MATH_H_
