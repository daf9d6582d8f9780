// Exponentials, logarithms and sums over lanes. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_MATH_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_MATH_H_

#include "base/argmax.h"

KSEG_KERNEL_BEGIN

// 2**x for x <= 126, within 1.5 units in the last place; 0 or a number below 2**-125 for x <= -126; NaN for NaN. The
// polynomial is a minimax fit of (2**f - 1) / f on [-1/2, 1/2].
KSEG_INLINE VecF exp2_of(VecF x) {
#if defined(KSEG_TARGET_AVX512)
  const VecF whole = (VecF)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  x = larger(splat(-126.0f), x);  // in this order a NaN stays
  const VecF shifted = x + splat(12583039.0f);  // 1.5 * 2**23 + 127: the low bits become x rounded, plus the bias
  const VecF whole = shifted - splat(12583039.0f);
#endif
  const VecF f = x - whole;
  VecF p = splat(1.53533622e-4f);
  p = p * f + splat(1.33988748e-3f);
  p = p * f + splat(9.61843736e-3f);
  p = p * f + splat(5.55033247e-2f);
  p = p * f + splat(2.40226479e-1f);
  p = p * f + splat(6.93147203e-1f);
  p = p * f + splat(1.0f);
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_scalef_ps((__m512)p, (__m512)whole);
#else
  return p * (VecF)((Vec<uint32_t>)shifted << 23);
#endif
}

// The binary logarithm of a positive normal number; NaN for NaN. A minimax fit of log2(1 + u) / u around 1.
KSEG_INLINE VecF log2_of(VecF x) {
  const VecI above = (VecI)x - splat<int32_t>(0x3f3504f3);  // the bits of sqrt(1/2)
  const VecI exponent = above >> 23;
  const VecF u = (VecF)((Vec<uint32_t>)x - ((Vec<uint32_t>)exponent << 23)) - splat(1.0f);
  VecF p = splat(-0.10976346f);
  p = p * u + splat(0.18838523f);
  p = p * u + splat(-0.19234406f);
  p = p * u + splat(0.20428976f);
  p = p * u + splat(-0.2393943f);
  p = p * u + splat(0.28857921f);
  p = p * u + splat(-0.36070874f);
  p = p * u + splat(0.48089814f);
  p = p * u + splat(-0.72134716f);
  p = p * u + splat(1.44269504f);
  return p * u + __builtin_convertvector(exponent, VecF) + (x - x);
}

struct Adding {
  static __attribute__((always_inline)) VecF join(VecF a, VecF b) { return a + b; }
};
struct Largest {
  static __attribute__((always_inline)) VecF join(VecF a, VecF b) { return larger(a, b); }
};

#if KSEG_X86
// Of four registers, the join of lanes 0..3 of each 128-bit part, side by side.
template <class Op>
KSEG_INLINE VecF join_quarters(const VecF* values) {
#if defined(KSEG_TARGET_AVX512)
#define KSEG_AS_PD(a) _mm512_castps_pd((__m512)(a))
#define KSEG_FROM_PD(a) (VecF) _mm512_castpd_ps(a)
#define KSEG_RAW __m512
#define KSEG_LO_PS _mm512_unpacklo_ps
#define KSEG_HI_PS _mm512_unpackhi_ps
#define KSEG_LO_PD _mm512_unpacklo_pd
#define KSEG_HI_PD _mm512_unpackhi_pd
#elif defined(KSEG_TARGET_AVX2)
#define KSEG_AS_PD(a) _mm256_castps_pd((__m256)(a))
#define KSEG_FROM_PD(a) (VecF) _mm256_castpd_ps(a)
#define KSEG_RAW __m256
#define KSEG_LO_PS _mm256_unpacklo_ps
#define KSEG_HI_PS _mm256_unpackhi_ps
#define KSEG_LO_PD _mm256_unpacklo_pd
#define KSEG_HI_PD _mm256_unpackhi_pd
#else
#define KSEG_AS_PD(a) _mm_castps_pd((__m128)(a))
#define KSEG_FROM_PD(a) (VecF) _mm_castpd_ps(a)
#define KSEG_RAW __m128
#define KSEG_LO_PS _mm_unpacklo_ps
#define KSEG_HI_PS _mm_unpackhi_ps
#define KSEG_LO_PD _mm_unpacklo_pd
#define KSEG_HI_PD _mm_unpackhi_pd
#endif
  const VecF first = Op::join((VecF)KSEG_LO_PS((KSEG_RAW)values[0], (KSEG_RAW)values[1]),
                              (VecF)KSEG_HI_PS((KSEG_RAW)values[0], (KSEG_RAW)values[1]));
  const VecF second = Op::join((VecF)KSEG_LO_PS((KSEG_RAW)values[2], (KSEG_RAW)values[3]),
                               (VecF)KSEG_HI_PS((KSEG_RAW)values[2], (KSEG_RAW)values[3]));
  return Op::join(KSEG_FROM_PD(KSEG_LO_PD(KSEG_AS_PD(first), KSEG_AS_PD(second))),
                  KSEG_FROM_PD(KSEG_HI_PD(KSEG_AS_PD(first), KSEG_AS_PD(second))));
#undef KSEG_AS_PD
#undef KSEG_FROM_PD
#undef KSEG_RAW
#undef KSEG_LO_PS
#undef KSEG_HI_PS
#undef KSEG_LO_PD
#undef KSEG_HI_PD
}
#endif

// Lane l of the result is the join over the lanes of values[l], for kLanesF values.
template <class Op>
KSEG_INLINE VecF join_each(const VecF* values) {
#if defined(KSEG_TARGET_AVX512)
  const __m512 a = (__m512)join_quarters<Op>(values);
  const __m512 b = (__m512)join_quarters<Op>(values + 4);
  const __m512 c = (__m512)join_quarters<Op>(values + 8);
  const __m512 d = (__m512)join_quarters<Op>(values + 12);
  const __m512 ab = (__m512)Op::join((VecF)_mm512_shuffle_f32x4(a, b, 0x44), (VecF)_mm512_shuffle_f32x4(a, b, 0xee));
  const __m512 cd = (__m512)Op::join((VecF)_mm512_shuffle_f32x4(c, d, 0x44), (VecF)_mm512_shuffle_f32x4(c, d, 0xee));
  return Op::join((VecF)_mm512_shuffle_f32x4(ab, cd, 0x88), (VecF)_mm512_shuffle_f32x4(ab, cd, 0xdd));
#elif defined(KSEG_TARGET_AVX2)
  const __m256 a = (__m256)join_quarters<Op>(values);
  const __m256 b = (__m256)join_quarters<Op>(values + 4);
  return Op::join((VecF)_mm256_permute2f128_ps(a, b, 0x20), (VecF)_mm256_permute2f128_ps(a, b, 0x31));
#elif KSEG_X86
  return join_quarters<Op>(values);
#else
  VecF result;
  for (int i = 0; i < kLanesF; ++i) {
    VecF joined = splat(values[i][0]);
    for (int lane = 1; lane < kLanesF; ++lane) joined = Op::join(joined, splat(values[i][lane]));
    result[i] = joined[0];
  }
  return result;
#endif
}

template <class Op>
KSEG_INLINE float join_lanes(VecF value) {
#if defined(KSEG_TARGET_AVX512)
  value = Op::join(value, (VecF)_mm512_shuffle_f32x4((__m512)value, (__m512)value, 0x4e));
  value = Op::join(value, (VecF)_mm512_shuffle_f32x4((__m512)value, (__m512)value, 0xb1));
  value = Op::join(value, (VecF)_mm512_permute_ps((__m512)value, 0x4e));
  value = Op::join(value, (VecF)_mm512_permute_ps((__m512)value, 0xb1));
#elif defined(KSEG_TARGET_AVX2)
  value = Op::join(value, (VecF)_mm256_permute2f128_ps((__m256)value, (__m256)value, 0x01));
  value = Op::join(value, (VecF)_mm256_permute_ps((__m256)value, 0x4e));
  value = Op::join(value, (VecF)_mm256_permute_ps((__m256)value, 0xb1));
#elif KSEG_X86
  value = Op::join(value, (VecF)_mm_shuffle_ps((__m128)value, (__m128)value, 0x4e));
  value = Op::join(value, (VecF)_mm_shuffle_ps((__m128)value, (__m128)value, 0xb1));
#else
  for (int lane = 1; lane < kLanesF; ++lane) value = Op::join(value, splat(value[lane]));
#endif
  return value[0];
}

// The sums over the lanes of four registers.
KSEG_INLINE void join_four(const VecF* values, float* to) {
#if KSEG_X86
  VecF sums = join_quarters<Adding>(values);
#if defined(KSEG_TARGET_AVX512)
  sums += (VecF)_mm512_shuffle_f32x4((__m512)sums, (__m512)sums, 0x4e);
  sums += (VecF)_mm512_shuffle_f32x4((__m512)sums, (__m512)sums, 0xb1);
#elif defined(KSEG_TARGET_AVX2)
  sums += (VecF)_mm256_permute2f128_ps((__m256)sums, (__m256)sums, 0x01);
#endif
  for (int i = 0; i < 4; ++i) to[i] = sums[i];
#else
  for (int i = 0; i < 4; ++i) to[i] = join_lanes<Adding>(values[i]);
#endif
}

struct LaneNumbers {
  int32_t lane[kLanesF];
};
constexpr LaneNumbers lane_numbers() {
  LaneNumbers numbers{};
  for (int i = 0; i < kLanesF; ++i) numbers.lane[i] = i;
  return numbers;
}

KSEG_INLINE VecF choose(VecI where, VecF yes, VecF no) { return (VecF)((where & (VecI)yes) | (~where & (VecI)no)); }

// Whether a lane of a comparison's result is set.
KSEG_INLINE bool any_lane(VecI where) {
#if defined(KSEG_TARGET_AVX512)
  return _mm512_test_epi32_mask((__m512i)where, (__m512i)where) != 0;
#elif defined(KSEG_TARGET_AVX2)
  return _mm256_movemask_epi8((__m256i)where) != 0;
#elif KSEG_X86
  return _mm_movemask_epi8((__m128i)where) != 0;
#else
  int32_t any = 0;
  for (int lane = 0; lane < kLanesF; ++lane) any |= where[lane];
  return any != 0;
#endif
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_MATH_H_
