// The winning class of each pixel from rows of logits. Of equal logits the lowest class wins; NaN counts as -infinity.
// Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_CONFUSION_MATRIX_LOGIT_WINNERS_H_
#define KSEG_OPS_CONFUSION_MATRIX_LOGIT_WINNERS_H_

#include "base/argmax.h"

KSEG_KERNEL_BEGIN

// Logits of 16 bits are widened piece by piece into a buffer that stays in the first-level cache.
constexpr int64_t kWidened = 4096;

// One vector of pixels at a time, class after class: for fewer classes than lanes, and for what is left over.
KSEG_INLINE void winners_across(const float* logits, int64_t pixels, int32_t channels, int32_t* to) {
  int64_t pixel = 0;
#if defined(KSEG_TARGET_AVX512)
  const __m512i steps = _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                                           _mm512_set1_epi32(channels));
#endif
  for (; pixel + kLanesF <= pixels; pixel += kLanesF) {
    const float* row = logits + pixel * channels;
    RunningMax best = no_maximum();
    for (int32_t channel = 0; channel < channels; ++channel) {
#if defined(KSEG_TARGET_AVX512)
      const VecF value = (VecF)_mm512_i32gather_ps(steps, row + channel, 4);
#else
      VecF value;
      for (int lane = 0; lane < kLanesF; ++lane) value[lane] = row[lane * channels + channel];
#endif
      best.offer(value, splat(channel));
    }
    store(to + pixel, best.where);
  }
  for (; pixel < pixels; ++pixel) {
    const float* row = logits + pixel * channels;
    float most = -__builtin_inff();
    int32_t winner = 0;
    for (int32_t channel = 0; channel < channels; ++channel) {
      if (row[channel] > most) {
        most = row[channel];
        winner = channel;
      }
    }
    to[pixel] = winner;
  }
}

#if defined(KSEG_TARGET_AVX512)
// Fewer classes than lanes, one pixel in a vector: from about five classes on cheaper than gathering across pixels.
void winners_masked(const float* logits, int64_t pixels, int32_t channels, int32_t* to) {
  const __mmask16 there = static_cast<__mmask16>((1u << channels) - 1);
  const VecF lowest = splat(-__builtin_inff());
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const VecF value = (VecF)_mm512_mask_loadu_ps((__m512)lowest, there, logits + pixel * channels);
    const VecF top = splat(largest_lane(larger(value, lowest)));
    to[pixel] = top[0] == -__builtin_inff() ? 0 : __builtin_ctz(lanes_equal(value, top));
  }
}
#endif

// Classes in kVectors vectors, the last of them ending at the row's end and so overlapping the one before: the maximum
// first, then one bit per place where it stands.
template <int kVectors>
void winners_along(const float* logits, int64_t pixels, int32_t channels, int32_t* to) {
  static_assert(kVectors * kLanesF <= 64);
  const int last = channels - kLanesF;
  const VecF lowest = splat(-__builtin_inff());
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const float* row = logits + pixel * channels;
    VecF value[kVectors];
    for (int v = 0; v < kVectors - 1; ++v) value[v] = load(row + v * kLanesF);
    value[kVectors - 1] = load(row + last);
    VecF most = larger(value[0], lowest);
    for (int v = 1; v < kVectors; ++v) most = larger(value[v], most);
    const VecF top = splat(largest_lane(most));
    uint64_t equal = static_cast<uint64_t>(lanes_equal(value[kVectors - 1], top)) << last;
    for (int v = 0; v < kVectors - 1; ++v) equal |= static_cast<uint64_t>(lanes_equal(value[v], top)) << (v * kLanesF);
    // Without a number, or with nothing above -infinity, class 0 wins; NaN may stand before the first -infinity.
    to[pixel] = top[0] == -__builtin_inff() ? 0 : __builtin_ctzll(equal);
  }
}

// Any number of classes, at least a vector of them.
void winners_along_many(const float* logits, int64_t pixels, int32_t channels, int32_t* to) {
  const int32_t whole = channels / kLanesF;
  const int32_t rest = channels - whole * kLanesF;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const float* row = logits + pixel * channels;
    RunningMax best = no_maximum();
    for (int32_t v = 0; v < whole; ++v) best.offer(load(row + v * kLanesF), splat(v));
    int32_t winner = best_class(best);
    if (rest > 0) {
      float most = largest_lane(best.value);
      for (int32_t channel = whole * kLanesF; channel < channels; ++channel) {
        if (row[channel] > most) {
          most = row[channel];
          winner = channel;
        }
      }
    }
    to[pixel] = winner;
  }
}

using FloatWinners = void (*)(const float* logits, int64_t pixels, int32_t channels, int32_t* to);

template <int kVectors>
FloatWinners choose_along(int32_t channels) {
  if constexpr (kVectors * kLanesF > 64) {
    return &winners_along_many;
  } else {
    if (channels <= kVectors * kLanesF) return &winners_along<kVectors>;
    return choose_along<kVectors + 1>(channels);
  }
}

// A sigmoid logit is the second of two, the first being 0.
void winners_of_sigmoid(const float* logits, int64_t pixels, int32_t, int32_t* to) {
  for (int64_t pixel = 0; pixel < pixels; ++pixel) to[pixel] = logits[pixel] > 0.0f ? 1 : 0;
}

template <int kFixed>
void winners_across_of(const float* logits, int64_t pixels, int32_t channels, int32_t* to) {
  winners_across(logits, pixels, kFixed > 0 ? kFixed : channels, to);
}

FloatWinners choose_winners(int32_t channels, bool sigmoid) {
  if (sigmoid) return &winners_of_sigmoid;
  // The overlapping last vector needs a whole vector of classes.
  if (channels >= kLanesF) return choose_along<1>(channels);
#if defined(KSEG_TARGET_AVX512)
  if (channels >= 5) return &winners_masked;
#endif
  switch (channels) {
    case 2:
      return &winners_across_of<2>;
    case 3:
      return &winners_across_of<3>;
    default:
      return &winners_across_of<0>;
  }
}

// One pixel after another, in the type's own precision.
template <class T>
void winners_one_by_one(const T* logits, int64_t pixels, int32_t channels, bool sigmoid, int32_t* to) {
  using Number = Compute<T>;
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const T* row = logits + pixel * channels;
    Number most = sigmoid ? 0 : -std::numeric_limits<Number>::infinity();
    int32_t winner = 0;
    for (int32_t channel = 0; channel < channels; ++channel) {
      const Number value = to_float(row[channel]);
      if (value > most) {
        most = value;
        winner = sigmoid ? 1 : channel;
      }
    }
    to[pixel] = winner;
  }
}

template <class T>
void winners_of(const void* data, int64_t begin, int64_t pixels, int32_t channels, bool sigmoid, FloatWinners winners,
                int32_t* to) {
  const T* logits = static_cast<const T*>(data) + begin * channels;
  if constexpr (std::is_same_v<T, float>) {
    winners(logits, pixels, channels, to);
  } else if constexpr (std::is_same_v<T, double>) {
    winners_one_by_one(logits, pixels, channels, sigmoid, to);
  } else if (channels > kWidened) {
    winners_one_by_one(logits, pixels, channels, sigmoid, to);
  } else {
    alignas(KSEG_VECTOR_BYTES) float wide[kWidened];
    const int64_t fit = kWidened / channels;
    for (int64_t first = 0; first < pixels; first += fit) {
      const int64_t count = fit < pixels - first ? fit : pixels - first;
      const T* from = logits + first * channels;
      const int64_t numbers = count * channels;
      int64_t i = 0;
      for (; i + kLanesF <= numbers; i += kLanesF) store(wide + i, load_float(from + i));
      for (; i < numbers; ++i) wide[i] = to_float(from[i]);
      winners(wide, count, channels, to + first);
    }
  }
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_CONFUSION_MATRIX_LOGIT_WINNERS_H_
