#include "ops/mask_iou/mask_window.h"

// Scalar code, the same for every instruction set: without base/kernel.h it is compiled once.

#include <algorithm>
#include <limits>

namespace kseg {
namespace {

// TensorFlow's threads read subnormal numbers as 0, and others do not.
float without_subnormals(float value) {
  return value > -std::numeric_limits<float>::min() && value < std::numeric_limits<float>::min() ? 0.0f : value;
}

int64_t floor_in(float value, int64_t extent) {
  return static_cast<int64_t>(std::clamp(static_cast<double>(value), 0.0, static_cast<double>(extent)));
}

int64_t ceil_in(float value, int64_t extent) {
  const double inside = std::clamp(static_cast<double>(value), 0.0, static_cast<double>(extent));
  const auto whole = static_cast<int64_t>(inside);
  return whole + (static_cast<double>(whole) < inside);
}

}  // namespace

MaskWindow mask_window(const float* box, int64_t height, int64_t width) {
  const float x1 = without_subnormals(box[0]), y1 = without_subnormals(box[1]);
  const float x2 = without_subnormals(box[2]), y2 = without_subnormals(box[3]);
  if (!(x1 < x2 && y1 < y2)) return MaskWindow();
  // Both edges beyond the same border: equal, as [extent, extent) or [0, 0).
  return {floor_in(y1, height), ceil_in(y2, height), floor_in(x1, width), ceil_in(x2, width)};
}

}  // namespace kseg
