#include "ops/paste_masks/paste_taps.h"

#include <algorithm>
#include <cmath>

#include "ops/paste_masks/exact_fma.h"

namespace kseg {
namespace {

// Coordinates of expanded boxes stay in here: beyond it torchvision's own form cannot run, and integers would overflow.
constexpr float kFarthest = 1073741824.0f;

int64_t clamped(float value) { return static_cast<int64_t>(std::clamp(value, -kFarthest, kFarthest)); }

PasteAxis grid_axis(float low, float high, int64_t mask_size, int64_t image_size) {
  PasteAxis axis;
  axis.formula = PasteFormula::kGridSample;
  axis.extent = mask_size + 2;
  axis.low_edge = low;
  axis.high_edge = high;
  const float most = static_cast<float>(image_size);
  axis.begin = static_cast<int64_t>(std::clamp(std::floor(low) - 1.0f, 0.0f, most));
  axis.end = static_cast<int64_t>(std::clamp(std::ceil(high) + 1.0f, 0.0f, most));
  return axis;
}

PasteAxis resize_axis(float low, float high, float scale, int64_t mask_size, int64_t image_size) {
  PasteAxis axis;
  const float half = rounded((high - low) * 0.5f * scale);
  const float centre = (high + low) * 0.5f;
  const float new_low = centre - half, new_high = centre + half;
  axis.extent = mask_size + 2;
  if (!std::isfinite(new_low) || !std::isfinite(new_high)) return axis;
  axis.origin = clamped(new_low);
  const int64_t last = clamped(new_high);
  axis.samples = std::max<int64_t>(last - axis.origin + 1, 1);
  axis.begin = std::max<int64_t>(axis.origin, 0);
  axis.end = std::min(last + 1, image_size);
  return axis;
}

}  // namespace

PasteBox paste_box(const float* corners, int64_t mask_height, int64_t mask_width, const PasteOptions& options) {
  PasteBox box;
  for (int i = 0; i < 4; ++i) {
    if (!std::isfinite(corners[i])) return box;
  }
  if (mask_height == 0 || mask_width == 0) return box;
  if (options.mode == PasteMode::kDetectron2) {
    box.x = grid_axis(corners[0], corners[2], mask_width, options.width);
    box.y = grid_axis(corners[1], corners[3], mask_height, options.height);
    return box;
  }
  // Both axes by the mask's width: there they are square.
  const float scale = static_cast<float>(static_cast<double>(mask_width + 2) / static_cast<double>(mask_width));
  box.x = resize_axis(corners[0], corners[2], scale, mask_width, options.width);
  box.y = resize_axis(corners[1], corners[3], scale, mask_height, options.height);
  const bool small = box.x.samples + box.y.samples <= 128;
  box.x.formula = box.y.formula = small ? PasteFormula::kSmall : PasteFormula::kRowsThenColumns;
  return box;
}

void paste_taps(const PasteAxis& axis, int64_t first, int64_t count, const PasteTaps& taps) {
  const float inside = static_cast<float>(axis.extent - 2);
  const float half_inside = inside / 2.0f;
  const float scale = static_cast<float>(axis.extent) / static_cast<float>(axis.samples);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t pixel = first + i;
    int32_t low = 0, high = 0;
    float low_weight = 0, high_weight = 0;
    if (pixel >= axis.begin && pixel < axis.end) {
      if (axis.formula == PasteFormula::kGridSample) {
        const float centre = static_cast<float>(pixel) + 0.5f;
        const float part = (centre - axis.low_edge) / (axis.high_edge - axis.low_edge);
        const float position = exact_fma(part * 2.0f - 1.0f + 1.0f, half_inside, -0.5f);
        const float floor = std::floor(position);
        if (floor >= -1.0f && floor <= inside - 1.0f) {  // NaN is not
          low = static_cast<int32_t>(floor) + 1;
          high = low + 1;
          high_weight = position - floor;
          low_weight = 1.0f - high_weight;
        }
      } else {
        const float centre = static_cast<float>(pixel - axis.origin) + 0.5f;
        float position =
            axis.formula == PasteFormula::kSmall ? exact_fma(scale, centre, -0.5f) : rounded(scale * centre) - 0.5f;
        position = std::max(position, 0.0f);
        const float last = static_cast<float>(axis.extent - 1);
        low = static_cast<int32_t>(std::min(position, last));
        high = std::min(low + 1, static_cast<int32_t>(axis.extent - 1));
        high_weight = std::clamp(position - static_cast<float>(low), 0.0f, 1.0f);
        low_weight = 1.0f - high_weight;
      }
    }
    taps.index[0][i] = low;
    taps.index[1][i] = high;
    taps.weight[0][i] = low_weight;
    taps.weight[1][i] = high_weight;
  }
}

}  // namespace kseg
