// Maxima and where they are, for kernels that search over classes. Opens the target as kernel.h does, so it is included
// last; define nothing but target code below it.
#ifndef KSEG_BASE_ARGMAX_H_
#define KSEG_BASE_ARGMAX_H_

#include "base/kernel.h"

KSEG_KERNEL_BEGIN

// Lane by lane a > b ? a : b, so b where either is NaN: a running maximum passed as b never becomes NaN.
KSEG_INLINE VecF larger(VecF a, VecF b) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_max_ps((__m256)a, (__m256)b);
#elif KSEG_X86
  return (VecF)_mm_max_ps((__m128)a, (__m128)b);
#else
  return a > b ? a : b;
#endif
}
// a < b ? a : b, so b where either is NaN.
KSEG_INLINE VecF smaller(VecF a, VecF b) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_min_ps((__m256)a, (__m256)b);
#elif KSEG_X86
  return (VecF)_mm_min_ps((__m128)a, (__m128)b);
#else
  return a < b ? a : b;
#endif
}

// The largest lane; no lane may be NaN.
KSEG_INLINE float largest_lane(VecF value) {
#if defined(KSEG_TARGET_AVX512)
  return _mm512_reduce_max_ps((__m512)value);
#elif KSEG_X86
#if defined(KSEG_TARGET_AVX2)
  __m128 half = _mm_max_ps(_mm256_castps256_ps128((__m256)value), _mm256_extractf128_ps((__m256)value, 1));
#else
  __m128 half = (__m128)value;
#endif
  half = _mm_max_ps(half, _mm_movehl_ps(half, half));
  half = _mm_max_ss(half, _mm_shuffle_ps(half, half, 1));
  return _mm_cvtss_f32(half);
#else
  float most = value[0];
  for (int lane = 1; lane < kLanesF; ++lane) most = value[lane] > most ? value[lane] : most;
  return most;
#endif
}
KSEG_INLINE float smallest_lane(VecF value) { return -largest_lane(-value); }

// One bit per lane, lane 0 lowest.
KSEG_INLINE uint32_t lanes_equal(VecF a, VecF b) {
#if defined(KSEG_TARGET_AVX512)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_EQ_OQ);
#elif defined(KSEG_TARGET_AVX2)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_EQ_OQ)));
#elif KSEG_X86
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpeq_ps((__m128)a, (__m128)b)));
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanesF; ++lane) bits |= static_cast<uint32_t>(a[lane] == b[lane]) << lane;
  return bits;
#endif
}
KSEG_INLINE uint32_t lanes_at_least(VecF a, VecF b) {
#if defined(KSEG_TARGET_AVX512)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ);
#elif defined(KSEG_TARGET_AVX2)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GE_OQ)));
#elif KSEG_X86
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpge_ps((__m128)a, (__m128)b)));
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanesF; ++lane) bits |= static_cast<uint32_t>(a[lane] >= b[lane]) << lane;
  return bits;
#endif
}

// A running maximum per lane with a number that says where it was met. NaN never wins, and of equals the first stays.
// Made by no_maximum(): a constructor that the compiler writes would not be compiled for the target.
struct RunningMax {
  VecF value;
  VecI where;

  __attribute__((always_inline)) void offer(VecF candidate, VecI place) {
#if defined(KSEG_TARGET_AVX512)
    const __mmask16 wins = _mm512_cmp_ps_mask((__m512)candidate, (__m512)value, _CMP_GT_OQ);
    where = (VecI)_mm512_mask_mov_epi32((__m512i)where, wins, (__m512i)place);
#elif defined(KSEG_TARGET_AVX2)
    const __m256 wins = _mm256_cmp_ps((__m256)candidate, (__m256)value, _CMP_GT_OQ);
    where = (VecI)_mm256_blendv_ps((__m256)where, (__m256)place, wins);
#else
    const VecI wins = candidate > value;
    where = (wins & place) | (~wins & where);
#endif
    value = larger(candidate, value);
  }

  // Takes over what another running maximum found; of equals the lower place stays.
  __attribute__((always_inline)) void join(const RunningMax& other) {
#if defined(KSEG_TARGET_AVX512)
    const __mmask16 above = _mm512_cmp_ps_mask((__m512)other.value, (__m512)value, _CMP_GT_OQ);
    const __mmask16 equal = _mm512_cmp_ps_mask((__m512)other.value, (__m512)value, _CMP_EQ_OQ);
    const __mmask16 before = _mm512_mask_cmplt_epi32_mask(equal, (__m512i)other.where, (__m512i)where);
    where = (VecI)_mm512_mask_mov_epi32((__m512i)where, static_cast<__mmask16>(above | before), (__m512i)other.where);
#else
    const VecI wins = (other.value > value) | ((other.value == value) & (other.where < where));
    where = (wins & other.where) | (~wins & where);
#endif
    value = larger(other.value, value);
  }
};

KSEG_INLINE RunningMax no_maximum() { return {splat(-__builtin_inff()), VecI{}}; }

// For lanes that hold classes, lane l of vector v being class v * kLanesF + l and `where` the vector v: the class of
// the maximum, the lowest one among equals.
KSEG_INLINE int32_t best_class(const RunningMax& best) {
  const VecF top = splat(largest_lane(best.value));
  uint32_t equal = lanes_equal(best.value, top);
  alignas(KSEG_VECTOR_BYTES) int32_t where[kLanesF];
  store(where, best.where);
  int lane = __builtin_ctz(equal);
  int32_t winner = where[lane] * kLanesF + lane;
  while (__builtin_expect((equal &= equal - 1) != 0, 0)) {
    lane = __builtin_ctz(equal);
    const int32_t other = where[lane] * kLanesF + lane;
    winner = other < winner ? other : winner;
  }
  return winner;
}

KSEG_KERNEL_END

#endif  // KSEG_BASE_ARGMAX_H_
