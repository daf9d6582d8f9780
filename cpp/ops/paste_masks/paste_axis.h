// Where a pasted mask is read and with what weights, for the CPU and a GPU: which pixels are set hangs on the last bit.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_AXIS_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_AXIS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "ops/paste_masks/exact_fma.h"
#include "ops/paste_masks/paste_masks.h"

#if defined(__CUDACC__)
#define KSEG_PASTE __host__ __device__ inline
#else
#define KSEG_PASTE inline
#endif

namespace kseg {

// How the four pixels around a sample are summed, and its position rounded.
enum class PasteFormula {
  kRowsThenColumns,  // torch's interpolate: along rows, then between them
  kSmall,  // the same for outputs of up to 128 rows and columns together: four products
  kGridSample,  // torch's grid_sample: four products, another order
};

// One axis of one box. Masks are read with a border of one zero on every side, so `extent` counts two more than theirs.
struct PasteAxis {
  PasteFormula formula = PasteFormula::kGridSample;
  int64_t begin = 0;  // image pixels [begin, end) may be set
  int64_t end = 0;
  int64_t extent = 0;
  // torchvision: output pixel i of `samples` is image pixel `origin + i`.
  int64_t origin = 0;
  int64_t samples = 1;
  // detectron2: the box's edges.
  float low_edge = 0;
  float high_edge = 0;
};

struct PasteBox {
  PasteAxis x;
  PasteAxis y;

  KSEG_PASTE bool empty() const { return x.begin >= x.end || y.begin >= y.end; }
};

// Pixels `low` and `high` of the bordered mask with their weights; 0 everywhere where nothing is read.
struct PasteTap {
  int32_t low = 0;
  int32_t high = 0;
  float low_weight = 0;
  float high_weight = 0;
};

// By how much torchvision grows boxes, along both axes by the mask's width: there masks are square.
inline float paste_scale(int64_t mask_width) {
  return static_cast<float>(static_cast<double>(mask_width + 2) / static_cast<double>(mask_width));
}

namespace paste {

KSEG_PASTE float clamp(float value, float least, float most) {
  return value < least ? least : value > most ? most : value;
}

KSEG_PASTE PasteAxis grid_axis(float low, float high, int64_t mask_size, int64_t image_size) {
  PasteAxis axis;
  axis.formula = PasteFormula::kGridSample;
  axis.extent = mask_size + 2;
  axis.low_edge = low;
  axis.high_edge = high;
  const float most = static_cast<float>(image_size);
  axis.begin = static_cast<int64_t>(clamp(floorf(low) - 1.0f, 0.0f, most));
  axis.end = static_cast<int64_t>(clamp(ceilf(high) + 1.0f, 0.0f, most));
  return axis;
}

KSEG_PASTE bool is_finite(float value) { return fabsf(value) <= 3.402823466e38f; }

// Coordinates of expanded boxes stay in here: beyond it torchvision's own form cannot run, and integers would overflow.
KSEG_PASTE int64_t clamped(float value) {
  constexpr float kFarthest = 1073741824.0f;
  return static_cast<int64_t>(clamp(value, -kFarthest, kFarthest));
}

KSEG_PASTE PasteAxis resize_axis(float low, float high, float scale, int64_t mask_size, int64_t image_size) {
  PasteAxis axis;
  const float half = rounded((high - low) * 0.5f * scale);
  const float centre = (high + low) * 0.5f;
  const float new_low = centre - half, new_high = centre + half;
  axis.extent = mask_size + 2;
  if (!is_finite(new_low) || !is_finite(new_high)) return axis;
  axis.origin = clamped(new_low);
  const int64_t last = clamped(new_high);
  axis.samples = last - axis.origin + 1 > 1 ? last - axis.origin + 1 : 1;
  axis.begin = axis.origin > 0 ? axis.origin : 0;
  axis.end = last + 1 < image_size ? last + 1 : image_size;
  return axis;
}

}  // namespace paste

// `scale`: paste_scale() of the mask's width.
KSEG_PASTE PasteBox paste_box(const float* corners, int64_t mask_height, int64_t mask_width, float scale,
                              const PasteOptions& options) {
  PasteBox box;
  for (int i = 0; i < 4; ++i) {
    if (!paste::is_finite(corners[i])) return box;
  }
  if (mask_height == 0 || mask_width == 0) return box;
  if (options.mode == PasteMode::kDetectron2) {
    box.x = paste::grid_axis(corners[0], corners[2], mask_width, options.width);
    box.y = paste::grid_axis(corners[1], corners[3], mask_height, options.height);
    return box;
  }
  box.x = paste::resize_axis(corners[0], corners[2], scale, mask_width, options.width);
  box.y = paste::resize_axis(corners[1], corners[3], scale, mask_height, options.height);
  const bool small = box.x.samples + box.y.samples <= 128;
  box.x.formula = box.y.formula = small ? PasteFormula::kSmall : PasteFormula::kRowsThenColumns;
  return box;
}

KSEG_PASTE PasteTap paste_tap(const PasteAxis& axis, int64_t pixel) {
  PasteTap tap;
  if (pixel < axis.begin || pixel >= axis.end) return tap;
  if (axis.formula == PasteFormula::kGridSample) {
    const float inside = static_cast<float>(axis.extent - 2);
    const float centre = static_cast<float>(pixel) + 0.5f;
    const float part = (centre - axis.low_edge) / (axis.high_edge - axis.low_edge);
    const float position = exact_fma(part * 2.0f - 1.0f + 1.0f, inside / 2.0f, -0.5f);
    const float floor = floorf(position);
    if (floor >= -1.0f && floor <= inside - 1.0f) {  // NaN is not
      tap.low = static_cast<int32_t>(floor) + 1;
      tap.high = tap.low + 1;
      tap.high_weight = position - floor;
      tap.low_weight = 1.0f - tap.high_weight;
    }
    return tap;
  }
  const float scale = static_cast<float>(axis.extent) / static_cast<float>(axis.samples);
  const float centre = static_cast<float>(pixel - axis.origin) + 0.5f;
  float position =
      axis.formula == PasteFormula::kSmall ? exact_fma(scale, centre, -0.5f) : rounded(scale * centre) - 0.5f;
  position = position > 0.0f ? position : 0.0f;
  const int32_t last = static_cast<int32_t>(axis.extent - 1);
  tap.low = position < static_cast<float>(last) ? static_cast<int32_t>(position) : last;
  tap.high = tap.low < last ? tap.low + 1 : last;
  tap.high_weight = paste::clamp(position - static_cast<float>(tap.low), 0.0f, 1.0f);
  tap.low_weight = 1.0f - tap.high_weight;
  return tap;
}

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_AXIS_H_
