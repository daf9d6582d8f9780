// Source pixels made ready for the search: floats in range, padded to whole vectors. Opens the target as base/kernel.h
// does, so it is included last.
#ifndef KSEG_OPS_RESIZE_ARGMAX_SOURCE_PIXELS_H_
#define KSEG_OPS_RESIZE_ARGMAX_SOURCE_PIXELS_H_

#include "ops/resize_argmax/resize_tiles.h"

#include "base/argmax.h"
#include "ops/resize_argmax/tile_argmax.h"

KSEG_KERNEL_BEGIN

// A range of tiles along x, narrow enough for its source pixels to stay in cache.
struct Strip {
  int64_t first_tile, last_tile;    // [first, last)
  int64_t first_pixel, last_pixel;  // [first, last)
};

struct Plan {
  const void* logits;
  int32_t* classes;
  int64_t height, width, out_height, out_width;
  int32_t channels, padded;  // padded: rounded up to whole vectors
  bool need_winners, prune;
  int64_t elements;       // of the logits
  int64_t element_bytes;  // of one of them
  const ResizeTile* rows;
  const ResizeTile* columns;
  const float* row_weights;     // [tile][kOutputs]: y of each output of a tile
  const float* column_weights;  // [tile][kOutputs]: x
};

KSEG_INLINE VecF tame(VecF value) { return smaller(larger(value, splat(-kLargest)), splat(kLargest)); }

KSEG_INLINE VecF load_float(const double* from) {
  // Clipped before they are narrowed: a double past the floats would have no defined value. NaN passes, for tame().
  VecF value;
  for (int lane = 0; lane < kLanesF; ++lane) {
    value[lane] = static_cast<float>(from[lane] > kLargest    ? kLargest
                                     : from[lane] < -kLargest ? -kLargest
                                                              : from[lane]);
  }
  return value;
}

// Up to kLanesF numbers as floats; what lies beyond may not be readable.
template <class T>
KSEG_INLINE VecF load_few(const T* from, int32_t count) {
  T numbers[kLanesF] = {};
  for (int32_t i = 0; i < count; ++i) numbers[i] = from[i];
  return load_float(numbers);
}

// Source pixels as floats in range, padded with a class that cannot win; and each pixel's winner. kVectors: how many
// hold a pixel, or 0 for any number.
template <class T, int kVectors>
void prepare_pixels(const Plan& plan, int64_t first, int64_t pixels, float* values, int32_t* winners) {
  const int32_t channels = plan.channels;
  const int32_t padded = kVectors > 0 ? kVectors * kLanesF : plan.padded;
  const int32_t last = padded - kLanesF;
  alignas(KSEG_VECTOR_BYTES) int32_t numbers[kLanesF];
  for (int lane = 0; lane < kLanesF; ++lane) numbers[lane] = last + lane;
  const VecI there = load(numbers) < splat(channels);
  const VecF padding = splat(-2.0f * kLargest);
  for (int64_t pixel = 0; pixel < pixels; ++pixel) {
    const int64_t start = (first + pixel) * channels;
    const T* const from = static_cast<const T*>(plan.logits) + start;
    float* const to = values + pixel * padded;
    VecF most = padding;
    VecF kept[kVectors > 0 ? kVectors : 1];
    for (int32_t channel = 0; channel < last; channel += kLanesF) {
      const VecF value = tame(load_float(from + channel));
      store(to + channel, value);
      most = larger(value, most);
      if constexpr (kVectors > 0) kept[channel / kLanesF] = value;
    }
    // The last vector reads on into the next pixel, if there is one.
    VecF value = start + padded <= plan.elements ? load_float(from + last) : load_few(from + last, channels - last);
    value = tame(value);
    value = (VecF)(((VecI)value & there) | ((VecI)padding & ~there));
    store(to + last, value);
    most = larger(value, most);
    if (!plan.need_winners) continue;
    const VecF top = splat(largest_lane(most));
    if constexpr (kVectors > 0) {
      kept[kVectors - 1] = value;
      uint64_t equal = 0;
      for (int v = 0; v < kVectors; ++v) equal |= static_cast<uint64_t>(lanes_equal(kept[v], top)) << (v * kLanesF);
      winners[pixel] = __builtin_ctzll(equal);
    } else {
      int32_t winner = 0;
      uint32_t equal = lanes_equal(load(to), top);
      while (equal == 0) {
        winner += kLanesF;
        equal = lanes_equal(load(to + winner), top);
      }
      winners[pixel] = winner + __builtin_ctz(equal);
    }
  }
}

using PreparePixels = void (*)(const Plan&, int64_t, int64_t, float*, int32_t*);

template <class T, int kVectors = 1>
PreparePixels choose_prepare(int32_t padded) {
  if constexpr (kVectors > 4) {
    return &prepare_pixels<T, 0>;
  } else {
    if (padded == kVectors * kLanesF) return &prepare_pixels<T, kVectors>;
    return choose_prepare<T, kVectors + 1>(padded);
  }
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_ARGMAX_SOURCE_PIXELS_H_
