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

#define KSEG_KERNEL_BEGIN namespace kseg { namespace KSEG_TARGET {
#define KSEG_KERNEL_END }}

#if KSEG_X86
#define KSEG_DECLARE_KERNEL(...)          \
  namespace baseline { __VA_ARGS__; }     \
  namespace avx2 { __VA_ARGS__; }         \
  namespace avx512 { __VA_ARGS__; }
#define KSEG_RETURN_DISPATCH(function, ...)                   \
  do {                                                        \
    const ::kseg::Target kseg_target = active_target();       \
    count_call(kseg_target);                                  \
    switch (kseg_target) {                                    \
      case ::kseg::Target::kAvx512:                           \
        return avx512::function(__VA_ARGS__);                 \
      case ::kseg::Target::kAvx2:                             \
        return avx2::function(__VA_ARGS__);                   \
      case ::kseg::Target::kBaseline:                         \
        break;                                                \
    }                                                         \
    return baseline::function(__VA_ARGS__);                   \
  } while (false)
#else
#define KSEG_DECLARE_KERNEL(...) namespace baseline { __VA_ARGS__; }
#define KSEG_RETURN_DISPATCH(function, ...)      \
  do {                                           \
    count_call(::kseg::Target::kBaseline);       \
    return baseline::function(__VA_ARGS__);      \
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
KSEG_INLINE VecF load_float(const BFloat16* from) {
  typedef uint16_t Narrow __attribute__((vector_size(KSEG_VECTOR_BYTES / 2)));
  Narrow bits;
  std::memcpy(&bits, from, sizeof bits);
  const auto wide = __builtin_convertvector(bits, Vec<uint32_t>) << 16;
  VecF value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}
KSEG_INLINE VecF load_float(const Half* from) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  VecF value;
  for (int lane = 0; lane < kLanesF; ++lane) value[lane] = to_float(from[lane]);
  return value;
#endif
}

// Writes kLanesF floats as any feature type, rounded to nearest even.
KSEG_INLINE void store_float(float* to, VecF value) { store(to, value); }
KSEG_INLINE void store_float(BFloat16* to, VecF value) {
  for (int lane = 0; lane < kLanesF; ++lane) to[lane] = from_float<BFloat16>(value[lane]);
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
