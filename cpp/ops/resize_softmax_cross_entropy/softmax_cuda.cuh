// What the kernels of the op share. Outputs (label pixels) are taken by cells: see base/cuda/resize_cells.h.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_CUDA_CUH_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_CUDA_CUH_

#include <cstdint>

#include "base/cuda/device.cuh"
#include "base/cuda/resize_cells.cuh"
#include "base/cuda/vector.cuh"
#include "ops/resize_softmax_cross_entropy/softmax_cuda_plan.h"

namespace kseg {

// 2**x, flushing to 0 what is no normal number; NaN for NaN.
KSEG_DEVICE float exp2_fast(float x) {
#if defined(__CUDACC__)
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#else
  return exp2f(x);
#endif
}

inline constexpr float kLargestSoftmaxLogit = 1e30f;
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2 = 0.693147181f;

// A class, or -1 for void pixels and labels out of range.
KSEG_DEVICE int class_of(const SoftmaxLabels& labels, int64_t position) {
  int64_t label;
  switch (labels.type) {
    case ResizeLabels::Type::kUint8:
      label = static_cast<const uint8_t*>(labels.data)[position];
      break;
    case ResizeLabels::Type::kInt8:
      label = static_cast<const int8_t*>(labels.data)[position];
      break;
    case ResizeLabels::Type::kUint16:
      label = static_cast<const uint16_t*>(labels.data)[position];
      break;
    case ResizeLabels::Type::kInt64:
      label = static_cast<const int64_t*>(labels.data)[position];
      break;
    default:
      label = static_cast<const int32_t*>(labels.data)[position];
  }
  if (label < 0 || label >= labels.classes || (labels.has_ignore_index && label == labels.ignore_index)) return -1;
  return static_cast<int>(label);
}

KSEG_DEVICE float clip_logit(float value) {  // a NaN stays
  value = value > kLargestSoftmaxLogit ? kLargestSoftmaxLogit : value;
  return value < -kLargestSoftmaxLogit ? -kLargestSoftmaxLogit : value;
}

// The logit of a class at a source pixel; `from` the pixel. One channel is the second class, the first one's logit is
// 0.
template <class T>
KSEG_DEVICE float clipped_logit(const T* from, int channels, int which) {
  if (channels == 1) return which == 0 ? 0.0f : clip_logit(widen(from[0]));
  return clip_logit(widen(from[which]));
}

KSEG_DEVICE float bilinear(float upper_left, float upper_right, float lower_left, float lower_right, float x, float y) {
  const float left = fmaf(lower_left - upper_left, y, upper_left);
  const float right = fmaf(lower_right - upper_right, y, upper_right);
  return fmaf(right - left, x, left);
}

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_CUDA_CUH_
