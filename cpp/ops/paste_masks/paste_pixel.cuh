// Whether one pixel of a pasted mask is set.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_PIXEL_CUH_
#define KSEG_OPS_PASTE_MASKS_PASTE_PIXEL_CUH_

#include <cstdint>

#include "base/cuda/vector.cuh"
#include "ops/paste_masks/paste_axis.h"

namespace kseg {

template <class T>
struct PastedMask {
  const T* data;
  int64_t height;
  int64_t width;

  // Of the mask with its border.
  KSEG_DEVICE float at(int y, int x) const {
    const bool inside = y > 0 && x > 0 && y <= height && x <= width;
    return inside ? widen(data[(y - 1) * width + (x - 1)]) : 0.0f;
  }
};

// The operations and their order are those of paste_strip.h.
template <class T>
KSEG_DEVICE bool is_set(const PastedMask<T>& mask, PasteFormula formula, const PasteTap& row, const PasteTap& column,
                        float threshold) {
  const float upper_left = mask.at(row.low, column.low), upper_right = mask.at(row.low, column.high);
  const float lower_left = mask.at(row.high, column.low), lower_right = mask.at(row.high, column.high);
  const float left = column.low_weight, right = column.high_weight;
  if (formula == PasteFormula::kRowsThenColumns) {
    const float upper = fmaf(upper_left, left, upper_right * right);
    const float lower = fmaf(lower_left, left, lower_right * right);
    return fmaf(upper, row.low_weight, lower * row.high_weight) > threshold;
  }
  float value;
  if (formula == PasteFormula::kGridSample) {
    value = fmaf(upper_right, right * row.low_weight, upper_left * (left * row.low_weight));
  } else {
    value = fmaf(upper_left, left * row.low_weight, upper_right * (right * row.low_weight));
  }
  value = fmaf(lower_left, left * row.high_weight, value);
  value = fmaf(lower_right, right * row.high_weight, value);
  return formula == PasteFormula::kGridSample ? value >= threshold : value > threshold;
}

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_PIXEL_CUH_
