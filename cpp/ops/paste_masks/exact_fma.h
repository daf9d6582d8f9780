// a * b + c with one rounding, on every instruction set: which pixels are set hangs on the last bit.
#ifndef KSEG_OPS_PASTE_MASKS_EXACT_FMA_H_
#define KSEG_OPS_PASTE_MASKS_EXACT_FMA_H_

#include <cstdint>

namespace kseg {

#if defined(__CUDACC__)
// A GPU has the instruction, and its compiler is told not to fuse by itself.
__host__ __device__ inline float exact_fma(float a, float b, float c) { return fmaf(a, b, c); }
__host__ __device__ inline float rounded(float value) { return value; }
#else
// The product is exact in double, so that the sum is rounded once to double and once to float. That is the same as one
// rounding unless the double lies halfway between two floats; then the library function decides.
__attribute__((always_inline)) inline float exact_fma(float a, float b, float c) {
  const double sum = static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c);
  uint64_t bits;
  __builtin_memcpy(&bits, &sum, sizeof bits);
  if (__builtin_expect((bits & 0x1fffffffu) == 0x10000000u, 0)) return __builtin_fmaf(a, b, c);
  return static_cast<float>(sum);
}

// The value, out of the compiler's sight: a product that is rounded before something is added to it.
inline float rounded(float value) {
  volatile float stored = value;
  return stored;
}
#endif

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_EXACT_FMA_H_
