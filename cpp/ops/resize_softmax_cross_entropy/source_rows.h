// Source pixels made ready: base-2 logits less each pixel's largest, padded to whole vectors. Opens the target as
// base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOURCE_ROWS_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOURCE_ROWS_H_

#include "base/argmax.h"
#include "ops/resize_softmax_cross_entropy/softmax_math.h"

KSEG_KERNEL_BEGIN

constexpr float kLargestLogit = 1e30f;
constexpr float kPadding = -4e30f;  // below every base-2 logit
constexpr float kLog2E = 1.44269504f;
constexpr float kLn2 = 0.693147181f;

// One row of source pixels.
struct SourceRow {
  float* values;  // [width][padded]
  float* lowest;  // [width]: the pixel's least value, NaN if it holds a NaN
  float* means;   // [width]: over the classes, if wanted
};

// Up to kLanesF numbers as floats; what lies beyond may not be readable.
template <class T>
KSEG_INLINE VecF load_few(const T* from, int64_t count) {
  if (count >= kLanesF) return load_float(from);
  T numbers[kLanesF] = {};
  for (int64_t i = 0; i < count; ++i) numbers[i] = from[i];
  return load_float(numbers);
}

// `readable`: elements from `from` to the end of the array. With one channel the classes are 0 and the logit. kVectors:
// how many hold a pixel, or 0 for any number.
template <class T, int kVectors>
void prepare_pixels(const T* from, int64_t readable, int64_t width, int32_t channels, int32_t any_padded,
                    bool want_means, SourceRow* row) {
  const int32_t padded = kVectors > 0 ? kVectors * kLanesF : any_padded;
  const int32_t classes = channels == 1 ? 2 : channels;
  const int32_t last = padded - kLanesF;
  const VecF limit = splat(kLargestLogit);
  alignas(KSEG_VECTOR_BYTES) int32_t numbers[kLanesF];
  for (int lane = 0; lane < kLanesF; ++lane) numbers[lane] = last + lane;
  const VecI there = load(numbers) < splat(classes);
  const float share = 1.0f / static_cast<float>(classes);
  for (int64_t pixel = 0; pixel < width; ++pixel, from += channels, readable -= channels) {
    float* const to = row->values + pixel * padded;
    VecF final;  // the last vector
    if (channels == 1) {
      T pair[kLanesF] = {};
      pair[1] = from[0];
      final = load_float(pair);
    } else {
      // It reads on into the next pixel, if there is one.
      final = readable >= padded ? load_float(from + last) : load_few(from + last, channels - last);
    }
    final = choose(there, final, VecF{});
    VecI strange = final != final;
    final = smaller(limit, larger(-limit, final));  // in this order a NaN stays
    VecF most = larger(choose(there, final, splat(-3e38f)), splat(-3e38f));
    VecF least = smaller(choose(there, final, splat(3e38f)), splat(3e38f));
    VecF kept[kVectors > 0 ? kVectors : 1];
    for (int32_t channel = 0; channel < last; channel += kLanesF) {
      const VecF value = load_float(from + channel);
      strange |= value != value;
      const VecF tame = smaller(limit, larger(-limit, value));
      if constexpr (kVectors > 0) {
        kept[channel / kLanesF] = tame;
      } else {
        store(to + channel, tame);
      }
      most = larger(tame, most);
      least = smaller(tame, least);
    }
    const float top = join_lanes<Largest>(most);
    const float range = -join_lanes<Largest>(-least) - top;
    row->lowest[pixel] = any_lane(strange) ? __builtin_nanf("") : range * kLog2E;
    const VecF tops = splat(top);
    VecF total{};
    for (int32_t channel = 0; channel < last; channel += kLanesF) {
      const VecF tame = kVectors > 0 ? kept[kVectors > 0 ? channel / kLanesF : 0] : load(to + channel);
      const VecF value = (tame - tops) * splat(kLog2E);
      store(to + channel, value);
      total += value;
    }
    final = (final - tops) * splat(kLog2E);
    store(to + last, choose(there, final, splat(kPadding)));
    if (want_means) row->means[pixel] = join_lanes<Adding>(total + choose(there, final, VecF{})) * share;
  }
}

template <class T>
using PreparePixels = void (*)(const T*, int64_t, int64_t, int32_t, int32_t, bool, SourceRow*);

template <class T, int kVectors = 1>
PreparePixels<T> choose_prepare(int32_t padded) {
  if constexpr (kVectors > 4) {
    return &prepare_pixels<T, 0>;
  } else {
    if (padded == kVectors * kLanesF) return &prepare_pixels<T, kVectors>;
    return choose_prepare<T, kVectors + 1>(padded);
  }
}

template <class T>
KSEG_INLINE bool is_clipped(T logit) {
  const float value = to_float(logit);
  return value > kLargestLogit || value < -kLargestLogit;
}
template <class T>
KSEG_INLINE bool holds_clipped(const T* logits, int64_t count) {
  const VecF limit = splat(kLargestLogit);
  VecI clipped{};
  int64_t i = 0;
  for (; i + kLanesF <= count; i += kLanesF) {
    const VecF value = load_float(logits + i);
    clipped |= (value > limit) | (value < -limit);
  }
  bool any = any_lane(clipped);
  for (; i < count; ++i) any |= is_clipped(logits[i]);
  return any;
}

// A finished row of gradients: less `spread` of each pixel (if any), in the type of the logits. Zero where the logit
// was clipped. `to` has `channels` numbers per pixel: for one channel, that of the second class.
template <class T, class To>
void finish_row(const float* gradients, const float* spread, float share, int64_t width, int32_t channels,
                int32_t padded, const T* logits, To* to) {
  const int first = channels == 1 ? 1 : 0;
  const int64_t size = width * channels;
  for (int64_t pixel = 0; pixel < width; ++pixel) {
    const float* const from = gradients + pixel * padded + first;
    const float less = spread == nullptr ? 0.0f : spread[pixel] * share;
    To* const out = to + pixel * channels;
    for (int32_t channel = 0; channel < channels; channel += kLanesF) {
      // `from` has whole vectors, but for the shift by one of a single channel.
      const VecF value = first ? splat(from[0] - less) : load(from + channel) - splat(less);
      // Writes on into the next pixel, which comes later, but not past the row, which may be another thread's.
      if (pixel * channels + channel + kLanesF <= size) {
        store_float(out + channel, value);
      } else {
        To rest[kLanesF];
        store_float(rest, value);
        for (int32_t i = channel; i < channels; ++i) out[i] = rest[i - channel];
      }
    }
  }
  if (!holds_clipped(logits, size)) return;
  for (int64_t i = 0; i < size; ++i) {
    if (is_clipped(logits[i])) to[i] = from_float<To>(0.0f);
  }
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOURCE_ROWS_H_
