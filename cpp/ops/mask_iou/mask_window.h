// The pixels of an image that a mask's box touches.
#ifndef KSEG_OPS_MASK_IOU_MASK_WINDOW_H_
#define KSEG_OPS_MASK_IOU_MASK_WINDOW_H_

#include <cstdint>

namespace kseg {

struct MaskWindow {
  int64_t top = 0, bottom = 0;  // rows [top, bottom)
  int64_t left = 0, right = 0;  // pixels [left, right)

  bool empty() const { return top == bottom || left == right; }
};

// From `box` (x1 y1 x2 y2) the rows floor(y1) up to but not including ceil(y2) and likewise the columns, as far as the
// image has them. Without pixels for a box that has no area, is inverted or has a NaN. A subnormal coordinate is 0.
MaskWindow mask_window(const float* box, int64_t height, int64_t width);

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_MASK_WINDOW_H_
