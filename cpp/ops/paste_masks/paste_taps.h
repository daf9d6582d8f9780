// Where a pasted mask is read and with what weights: the scalar half of the op.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_TAPS_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_TAPS_H_

#include <cstdint>

#include "ops/paste_masks/paste_axis.h"
#include "ops/paste_masks/paste_masks.h"

namespace kseg {

// Pixels `index[0]` and `index[1]` of the bordered mask with their weights; 0 everywhere where nothing is read.
struct PasteTaps {
  int32_t* index[2];
  float* weight[2];
};

PasteBox paste_box(const float* corners, int64_t mask_height, int64_t mask_width, const PasteOptions& options);

// Taps of the image pixels first .. first + count - 1.
void paste_taps(const PasteAxis& axis, int64_t first, int64_t count, const PasteTaps& taps);

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_TAPS_H_
