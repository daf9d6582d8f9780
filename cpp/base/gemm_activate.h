// Activations (base/gemm_types.h) on a register. Opens the target as kernel.h does, so it is included last.
#ifndef KSEG_BASE_GEMM_ACTIVATE_H_
#define KSEG_BASE_GEMM_ACTIVATE_H_

#include "base/gemm_types.h"
#include "base/kernel.h"

KSEG_KERNEL_BEGIN

// NaN stays NaN, as TensorFlow has it: the instructions return their second operand then.
KSEG_INLINE VecF floor_at(VecF value, float least) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_max_ps((__m512)splat(least), (__m512)value);
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_max_ps((__m256)splat(least), (__m256)value);
#elif KSEG_X86
  return (VecF)_mm_max_ps((__m128)splat(least), (__m128)value);
#else
  return value < splat(least) ? splat(least) : value;
#endif
}
KSEG_INLINE VecF cap_at(VecF value, float most) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_min_ps((__m512)splat(most), (__m512)value);
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_min_ps((__m256)splat(most), (__m256)value);
#elif KSEG_X86
  return (VecF)_mm_min_ps((__m128)splat(most), (__m128)value);
#else
  return value > splat(most) ? splat(most) : value;
#endif
}
KSEG_INLINE VecF hard_sigmoid(VecF value) { return cap_at(floor_at(value + 3.0f, 0), 6) * (1.0f / 6); }
KSEG_INLINE VecF activate(VecF value, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return value;
    case Activation::kRelu:
      return floor_at(value, 0);
    case Activation::kRelu6:
      return cap_at(floor_at(value, 0), 6);
    case Activation::kHardSigmoid:
      return hard_sigmoid(value);
    case Activation::kHardSilu:
      return value * hard_sigmoid(value);
  }
  return value;
}

KSEG_KERNEL_END

#endif  // KSEG_BASE_GEMM_ACTIVATE_H_
