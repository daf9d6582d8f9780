// How a kernel is written once and compiled once per instruction set.
//
//   // ops/scale/scale.cc
//   #include "ops/scale/scale.h"          // the contract; declares kseg::scale(args, parallel_for)
//   #include <cmath>                      // every other header first,
//   #include "base/kernel.h"              // then this one, which opens the target
//   KSEG_KERNEL_BEGIN                     // namespace kseg::avx2 { (or baseline, avx512)
//   Status scale_kernel(const ScaleArgs& args, const ParallelFor& parallel_for) { ... uses Vec, load, store ... }
//   KSEG_KERNEL_END
//   #if KSEG_DISPATCH_HERE                // true in exactly one of the compilations
//   namespace kseg {
//   KSEG_DECLARE_KERNEL(Status scale_kernel(const ScaleArgs&, const ParallelFor&))
//   Status scale(const ScaleArgs& args, const ParallelFor& parallel_for) {
//     ... checks that need no instruction set ...
//     KSEG_RETURN_DISPATCH(scale_kernel, args, parallel_for);
//   }
//   }  // namespace kseg
//   #endif
//
// CMake passes KSEG_TARGET_BASELINE, KSEG_TARGET_AVX2 or KSEG_TARGET_AVX512. The instruction set is switched on by a
// pragma below this line and not by a compiler flag: with a flag, inline functions of the standard library would be
// emitted with wide instructions as weak symbols, and the linker could keep that copy for every caller, also on a
// machine without them. For the same reason nothing may be included after this header.
#ifndef KSEG_BASE_KERNEL_H_
#define KSEG_BASE_KERNEL_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/half.h"
#include "base/target.h"

#if KSEG_X86
#include <immintrin.h>
#endif

#if defined(KSEG_TARGET_AVX512)
#define KSEG_TARGET avx512
#define KSEG_VECTOR_BYTES 64
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512")
#elif defined(KSEG_TARGET_AVX2)
#define KSEG_TARGET avx2
#define KSEG_VECTOR_BYTES 32
#pragma GCC target("avx2,fma,f16c")
#else
#define KSEG_TARGET baseline
#define KSEG_VECTOR_BYTES 16
#endif

#if defined(KSEG_TARGET_BASELINE)
#define KSEG_DISPATCH_HERE 1
#else
#define KSEG_DISPATCH_HERE 0
#endif

#define KSEG_KERNEL_BEGIN \
  namespace kseg {        \
  namespace KSEG_TARGET {
#define KSEG_KERNEL_END \
  }                     \
  }

#if KSEG_X86
#define KSEG_DECLARE_KERNEL(...) \
  namespace baseline {           \
  __VA_ARGS__;                   \
  }                              \
  namespace avx2 {               \
  __VA_ARGS__;                   \
  }                              \
  namespace avx512 {             \
  __VA_ARGS__;                   \
  }
#define KSEG_RETURN_DISPATCH(function, ...)             \
  do {                                                  \
    const ::kseg::Target kseg_target = active_target(); \
    count_call(kseg_target);                            \
    switch (kseg_target) {                              \
      case ::kseg::Target::kAvx512:                     \
        return avx512::function(__VA_ARGS__);           \
      case ::kseg::Target::kAvx2:                       \
        return avx2::function(__VA_ARGS__);             \
      case ::kseg::Target::kBaseline:                   \
        break;                                          \
    }                                                   \
    return baseline::function(__VA_ARGS__);             \
  } while (false)
#else
#define KSEG_DECLARE_KERNEL(...) \
  namespace baseline {           \
  __VA_ARGS__;                   \
  }
#define KSEG_RETURN_DISPATCH(function, ...) \
  do {                                      \
    count_call(::kseg::Target::kBaseline);  \
    return baseline::function(__VA_ARGS__); \
  } while (false)
#endif

#define KSEG_INLINE static inline __attribute__((always_inline))

KSEG_KERNEL_BEGIN

// A register of the target, in the compiler's vector extension: +, -, *, comparisons and ?: work lane by lane.
template <class T>
struct VecOf {
  typedef T type __attribute__((vector_size(KSEG_VECTOR_BYTES)));
  typedef T unaligned __attribute__((vector_size(KSEG_VECTOR_BYTES), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename VecOf<T>::type;
using VecF = Vec<float>;
using VecI = Vec<int32_t>;
template <class T>
inline constexpr int kLanes = KSEG_VECTOR_BYTES / sizeof(T);
inline constexpr int kLanesF = kLanes<float>;

template <class T>
KSEG_INLINE Vec<T> load(const T* from) {
  return *reinterpret_cast<const typename VecOf<T>::unaligned*>(from);
}
template <class T>
KSEG_INLINE void store(T* to, Vec<T> value) {
  *reinterpret_cast<typename VecOf<T>::unaligned*>(to) = value;
}
template <class T>
KSEG_INLINE Vec<T> splat(T value) {
  return value - Vec<T>{};  // not value + 0: that would turn -0.0 into 0.0
}

// Reads kLanesF values of any feature type as floats.
KSEG_INLINE VecF load_float(const float* from) { return load(from); }
// bfloat16 by intrinsics where there are any: GCC 12 moves the lanes of __builtin_convertvector one by one.
KSEG_INLINE VecF load_float(const BFloat16* from) {
#if defined(KSEG_TARGET_AVX512)
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return (VecF)_mm512_slli_epi32(wide, 16);
#elif defined(KSEG_TARGET_AVX2)
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  return (VecF)_mm256_slli_epi32(wide, 16);
#elif KSEG_X86
  const __m128i narrow = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
  return (VecF)_mm_unpacklo_epi16(_mm_setzero_si128(), narrow);
#else
  VecF value;
  for (int lane = 0; lane < kLanesF; ++lane) value[lane] = to_float(from[lane]);
  return value;
#endif
}
KSEG_INLINE VecF load_float(const Half* from) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  typedef Vec<uint32_t> Bits;  // the steps of the scalar to_float(Half), with each case computed and one chosen
#if KSEG_X86
  const Bits half =
      (Bits)_mm_unpacklo_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)), _mm_setzero_si128());
#else
  Bits half;
  for (int lane = 0; lane < kLanesF; ++lane) half[lane] = from[lane].bits;
#endif
  const Bits sign = (half & 0x8000u) << 16;
  const Bits magnitude = half & 0x7fffu;
  const Bits normal = (magnitude << 13) + 0x38000000u;
  const Bits special = (magnitude << 13) | 0x7f800000u;  // infinity and NaN
  const Bits subnormal = (Bits)(__builtin_convertvector((VecI)magnitude, VecF) * bits_to_float(0x33800000u));
  const Bits is_subnormal = (Bits)(magnitude < 0x400u);
  const Bits is_special = (Bits)(magnitude >= 0x7c00u);
  const Bits value = (is_subnormal & subnormal) | (is_special & special) | (~(is_subnormal | is_special) & normal);
  return (VecF)(sign | value);
#endif
}

// Writes kLanesF floats as any feature type, rounded to nearest even.
KSEG_INLINE void store_float(float* to, VecF value) { store(to, value); }
KSEG_INLINE void store_float(BFloat16* to, VecF value) {
  typedef Vec<uint32_t> Bits;
  const Bits bits = (Bits)value;
  const Bits rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
  const Bits quiet_nan = bits >> 16 | 0x40u;
  const Bits is_nan = (Bits)((bits & 0x7fffffffu) > 0x7f800000u);
  const Bits narrow = (is_nan & quiet_nan) | (~is_nan & rounded);
#if defined(KSEG_TARGET_AVX512)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16((__m512i)narrow));
#elif defined(KSEG_TARGET_AVX2)
  const __m256i packed = _mm256_packus_epi32((__m256i)narrow, (__m256i)narrow);  // within each half of the register
  const __m256i joined = _mm256_permute4x64_epi64(packed, 0x08);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(joined));
#else
  for (int lane = 0; lane < kLanesF; ++lane) to[lane] = {static_cast<uint16_t>(narrow[lane])};
#endif
}
KSEG_INLINE void store_float(Half* to, VecF value) {
#if defined(KSEG_TARGET_AVX512)
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(KSEG_TARGET_AVX2)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int lane = 0; lane < kLanesF; ++lane) to[lane] = from_float<Half>(value[lane]);
#endif
}

KSEG_KERNEL_END

#endif  // KSEG_BASE_KERNEL_H_
