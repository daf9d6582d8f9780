// Where a pasted mask is read and with what weights: the scalar half of the op.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_TAPS_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_TAPS_H_

#include <cstdint>

#include "ops/paste_masks/paste_masks.h"

namespace kseg {

// How the four pixels around a sample are summed, and its position rounded.
enum class PasteFormula {
  kRowsThenColumns,  // torch's interpolate: along rows, then between them
  kSmall,            // the same for outputs of up to 128 rows and columns together: four products
  kGridSample,       // torch's grid_sample: four products, another order
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

  bool empty() const { return x.begin >= x.end || y.begin >= y.end; }
};

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
