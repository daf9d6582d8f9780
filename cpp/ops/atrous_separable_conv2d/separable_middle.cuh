// The first half of an atrous separable convolution, as its kernels compute it: channels of the depthwise result of one
// pixel.
#ifndef KSEG_OPS_ATROUS_SEPARABLE_CONV2D_SEPARABLE_MIDDLE_CUH_
#define KSEG_OPS_ATROUS_SEPARABLE_CONV2D_SEPARABLE_MIDDLE_CUH_

#include <cstdint>

#include "base/conv_axis.h"
#include "base/cuda/activation.cuh"
#include "base/cuda/remainder_order.cuh"
#include "base/cuda/vector.cuh"

namespace kseg {

inline constexpr int kMiddleVector = 8;  // channels that a thread computes at a time
inline constexpr int64_t kMostMiddleChannels = 1 << 26;

template <class T>
struct SeparableMiddle {
  const T* x;
  const T* filters;  // [taps][channels]
  ConvAxis rows;
  ConvAxis columns;
  RemainderOrder row_order;  // rows that read the same inputs lie side by side in the order of pixels
  int64_t batch;
  int64_t in_channels;
  int64_t multiplier;
  int channels;  // of the result
  Epilogue epilogue;

  KSEG_HOST_DEVICE int64_t pixels() const { return batch * rows.output * columns.output; }
};

// One pixel of the result, which lies at `output` of [batch, rows, columns]; the index counts in the order of rows.
struct MiddlePixel {
  int64_t image = 0;
  int64_t y = -(int64_t{1} << 40);  // where the taps begin, perhaps in the padding: all of them, if there is no pixel
  int64_t x = 0;
  int64_t output = -1;  // negative: there is no such pixel

  template <class T>
  KSEG_DEVICE MiddlePixel(const SeparableMiddle<T>& middle, int64_t index) {
    if (index >= middle.pixels()) return;
    const int64_t column = index % middle.columns.output;
    index /= middle.columns.output;
    const int64_t row = middle.row_order.place(index % middle.rows.output);
    image = index / middle.rows.output;
    output = (image * middle.rows.output + row) * middle.columns.output + column;
    y = row - middle.rows.before;
    x = column - middle.columns.before;
  }
};

// Channels [channel, channel + kMiddleVector) of a pixel, zeros beyond the last one. kWidth: channels that are loaded
// at a time, 1 or, where x and filters are aligned and there is no depth multiplier, more.
template <int kWidth, class T>
KSEG_DEVICE void compute_middle(const SeparableMiddle<T>& middle, const MiddlePixel& pixel, int channel,
                                float (&result)[kMiddleVector]) {
#pragma unroll
  for (int v = 0; v < kMiddleVector; ++v) result[v] = 0.0f;
  const T* const image = middle.x + pixel.image * middle.rows.input * middle.columns.input * middle.in_channels;
  for (int ky = 0; ky < middle.rows.kernel; ++ky) {
    const int64_t row = pixel.y + ky * middle.rows.rate;
    if (row < 0 || row >= middle.rows.input) continue;
    for (int kx = 0; kx < middle.columns.kernel; ++kx) {
      const int64_t column = pixel.x + kx * middle.columns.rate;
      if (column < 0 || column >= middle.columns.input) continue;
      const T* const from = image + (row * middle.columns.input + column) * middle.in_channels;
      const T* const filter = middle.filters + (ky * middle.columns.kernel + kx) * middle.channels;
#pragma unroll
      for (int first = 0; first < kMiddleVector; first += kWidth) {
        const int at = channel + first;
        if (at >= middle.channels) break;
        float value[kWidth], weight[kWidth];
        load_floats(from + (kWidth == 1 ? at / middle.multiplier : at), value);
        load_floats(filter + at, weight);
#pragma unroll
        for (int w = 0; w < kWidth; ++w) result[first + w] = fmaf(weight[w], value[w], result[first + w]);
      }
    }
  }
#pragma unroll
  for (int v = 0; v < kMiddleVector; ++v) {
    result[v] = channel + v < middle.channels ? apply_epilogue(middle.epilogue, channel + v, result[v]) : 0.0f;
  }
}

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_SEPARABLE_CONV2D_SEPARABLE_MIDDLE_CUH_
