// Rows of a depthwise convolution, made as the panel that the pointwise product reads. Opens the target as
// base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_ASPP_ASPP_DEPTHWISE_H_
#define KSEG_OPS_ASPP_ASPP_DEPTHWISE_H_

#include <cstdint>
#include <vector>

#include "base/conv_axis.h"
#include "base/gemm_types.h"

#include "base/kernel.h"

#include "base/gemm.h"

KSEG_KERNEL_BEGIN
namespace {

template <class T>
struct Depthwise {
  const T* x;
  const T* filters;  // [kh, kw, C]
  int64_t channels;
  ConvAxis rows, columns;
  Epilogue epilogue;
};

template <class T>
struct DepthwiseTap {
  const T* x;
  const T* weight;
};

// to[0..vectors * kLanesF) = the sum over taps.
template <int vectors, class T>
KSEG_INLINE void sum_taps(const std::vector<DepthwiseTap<T>>& taps, int64_t at, float* to) {
  VecF sum[vectors];
  for (int v = 0; v < vectors; ++v) sum[v] = VecF{};
  for (const DepthwiseTap<T>& tap : taps) {
    for (int v = 0; v < vectors; ++v) {
      sum[v] += load_float(tap.x + at + v * kLanesF) * load_float(tap.weight + at + v * kLanesF);
    }
  }
  for (int v = 0; v < vectors; ++v) store(to + v * kLanesF, sum[v]);
}

// panel[i * kGemmStride + c] for output pixels pixel + i, i < count, and channels first + c, c < depth.
template <class T>
void fill_depthwise(const Depthwise<T>& depthwise, int64_t pixel, int64_t count, int64_t first, int64_t depth,
                    float* panel) {
  constexpr int kVectors = 4;
  const ConvAxis &rows = depthwise.rows, &columns = depthwise.columns;
  Epilogue epilogue = depthwise.epilogue;
  epilogue.scale += first;
  epilogue.offset += first;
  std::vector<DepthwiseTap<T>> taps;
  for (int64_t i = 0; i < count; ++i, ++pixel, panel += kGemmStride) {
    const int64_t line = pixel / columns.output, ox = pixel % columns.output;
    const int64_t image = line / rows.output, oy = line % rows.output;
    taps.clear();
    for (int64_t tap_row = 0; tap_row < rows.kernel; ++tap_row) {
      const int64_t y = oy + tap_row * rows.rate - rows.before;
      if (y < 0 || y >= rows.input) continue;
      for (int64_t tap_column = 0; tap_column < columns.kernel; ++tap_column) {
        const int64_t x = ox + tap_column * columns.rate - columns.before;
        if (x < 0 || x >= columns.input) continue;
        const int64_t from = (image * rows.input + y) * columns.input + x;
        taps.push_back({depthwise.x + from * depthwise.channels + first,
                        depthwise.filters + (tap_row * columns.kernel + tap_column) * depthwise.channels + first});
      }
    }
    int64_t c = 0;
    for (; c + kVectors * kLanesF <= depth; c += kVectors * kLanesF) sum_taps<kVectors>(taps, c, panel + c);
    for (; c + kLanesF <= depth; c += kLanesF) sum_taps<1>(taps, c, panel + c);
    for (; c < depth; ++c) {
      float sum = 0;
      for (const DepthwiseTap<T>& tap : taps) sum += to_float(tap.x[c]) * to_float(tap.weight[c]);
      panel[c] = sum;
    }
    apply_epilogue(epilogue, depth, panel);
  }
}

}  // namespace
KSEG_KERNEL_END

#endif  // KSEG_OPS_ASPP_ASPP_DEPTHWISE_H_
