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

// `readable`: elements from `from` to the end of the array. With one channel the classes are 0 and the logit.
template <class T>
void prepare_row(const T* from, int64_t readable, int64_t width, int32_t channels, int32_t padded, bool want_means,
                 SourceRow* row) {
  const int32_t classes = channels == 1 ? 2 : channels;
  const int32_t last = padded - kLanesF;
  const VecF limit = splat(kLargestLogit);
  alignas(KSEG_VECTOR_BYTES) int32_t numbers[kLanesF];
  for (int lane = 0; lane < kLanesF; ++lane) numbers[lane] = last + lane;
  const VecI there = load(numbers) < splat(classes);
  const float share = 1.0f / static_cast<float>(classes);
  for (int64_t pixel = 0; pixel < width; ++pixel, from += channels, readable -= channels) {
    float* const to = row->values + pixel * padded;
    VecF most = splat(-3e38f), least = splat(3e38f);
    VecI strange{};
    for (int32_t channel = 0; channel < padded; channel += kLanesF) {
      VecF value;
      if (channels == 1) {
        T pair[kLanesF] = {};
        pair[1] = from[0];
        value = load_float(pair);
      } else {
        value = channel < last || readable >= padded ? load_float(from + channel)
                                                     : load_few(from + channel, channels - channel);
      }
      if (channel == last) value = choose(there, value, VecF{});
      const VecF tame = smaller(limit, larger(-limit, value));  // in this order a NaN stays
      strange |= value != value;
      store(to + channel, tame);
      if (channel == last) {
        most = larger(choose(there, tame, splat(-3e38f)), most);
        least = smaller(choose(there, tame, splat(3e38f)), least);
      } else {
        most = larger(tame, most);
        least = smaller(tame, least);
      }
    }
    const float top = join_lanes<Largest>(most);
    row->lowest[pixel] = any_lane(strange) ? __builtin_nanf("") : (-join_lanes<Largest>(-least) - top) * kLog2E;
    const VecF tops = splat(top);
    VecF total{};
    for (int32_t channel = 0; channel < last; channel += kLanesF) {
      const VecF value = (load(to + channel) - tops) * splat(kLog2E);
      store(to + channel, value);
      total += value;
    }
    const VecF value = (load(to + last) - tops) * splat(kLog2E);
    store(to + last, choose(there, value, splat(kPadding)));
    if (want_means) row->means[pixel] = join_lanes<Adding>(total + choose(there, value, VecF{})) * share;
  }
}

template <class T>
KSEG_INLINE bool is_clipped(T logit) {
  const float value = to_float(logit);
  return value > kLargestLogit || value < -kLargestLogit;
}
template <class T>
KSEG_INLINE bool holds_clipped(const T* logits, int32_t channels) {
  const VecF limit = splat(kLargestLogit);
  VecI clipped{};
  int32_t channel = 0;
  for (; channel + kLanesF <= channels; channel += kLanesF) {
    const VecF value = load_float(logits + channel);
    clipped |= (value > limit) | (value < -limit);
  }
  bool any = any_lane(clipped);
  for (; channel < channels; ++channel) any |= is_clipped(logits[channel]);
  return any;
}

// A finished row of gradients: less `spread` of each pixel (if any), in the type of the logits. Zero where the logit
// was clipped. `to` has `channels` numbers per pixel: for one channel, that of the second class.
template <class T, class To>
void finish_row(const float* gradients, const float* spread, float share, int64_t width, int32_t channels,
                int32_t padded, const T* logits, To* to) {
  const int first = channels == 1 ? 1 : 0;
  for (int64_t pixel = 0; pixel < width; ++pixel) {
    const float* const from = gradients + pixel * padded + first;
    const float less = spread == nullptr ? 0.0f : spread[pixel] * share;
    To* const out = to + pixel * channels;
    int32_t channel = 0;
    for (; channel + kLanesF <= channels; channel += kLanesF) {
      store_float(out + channel, load(from + channel) - splat(less));
    }
    if (channel < channels) {
      To rest[kLanesF];
      // `from` has whole vectors, but for the shift by one of a single channel.
      store_float(rest, first ? splat(from[0] - less) : load(from + channel) - splat(less));
      for (int32_t i = 0; channel + i < channels; ++i) out[channel + i] = rest[i];
    }
    if (!holds_clipped(logits + pixel * channels, channels)) continue;
    for (channel = 0; channel < channels; ++channel) {
      if (is_clipped(logits[pixel * channels + channel])) out[channel] = from_float<To>(0.0f);
    }
  }
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOURCE_ROWS_H_
