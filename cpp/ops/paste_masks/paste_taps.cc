#include "ops/paste_masks/paste_taps.h"

namespace kseg {

PasteBox paste_box(const float* corners, int64_t mask_height, int64_t mask_width, const PasteOptions& options) {
  return paste_box(corners, mask_height, mask_width, mask_width > 0 ? paste_scale(mask_width) : 1.0f, options);
}

void paste_taps(const PasteAxis& axis, int64_t first, int64_t count, const PasteTaps& taps) {
  for (int64_t i = 0; i < count; ++i) {
    const PasteTap tap = paste_tap(axis, first + i);
    taps.index[0][i] = tap.low;
    taps.index[1][i] = tap.high;
    taps.weight[0][i] = tap.low_weight;
    taps.weight[1][i] = tap.high_weight;
  }
}

}  // namespace kseg
