// Intersection over union of every pair of two sets of binary masks.
//
// Each mask is packed to one bit per pixel and cropped to its bounding box once; a pair costs nothing where the boxes
// do not meet and otherwise the popcount of the rows and 64-pixel words that they share. Counts are exact integers.
// Where boxes are given, only what they touch is read; without, all of every mask, which then takes most of the time.
#ifndef KSEG_OPS_MASK_IOU_MASK_IOU_H_
#define KSEG_OPS_MASK_IOU_MASK_IOU_H_

#include <cstdint>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int64_t kMaxMaskWidth = (int64_t{1} << 31) - 1;
inline constexpr int64_t kMaxMaskPairs = (int64_t{1} << 31) - 1;
inline constexpr int64_t kDenseMasks = -1;  // as `width`: a byte per pixel

// `count` masks one after the other. Dense: a byte per pixel, anything but 0 is set. Packed: pixel x is bit x % 8 of
// byte x / 8 of its row, which has (width + 7) / 8 bytes; bits beyond the width are ignored.
struct MaskStack {
  const uint8_t* data = nullptr;
  int64_t count = 0;
  int64_t height = 0;
  int64_t width = 0;
  bool packed = false;
  const float* boxes = nullptr;  // [count, 4], x1 y1 x2 y2: pixels that a mask's box does not touch are not set

  int64_t row_bytes() const { return packed ? (width + 7) / 8 : width; }
  const uint8_t* mask(int64_t index) const { return data + index * height * row_bytes(); }
  bool without_pixels() const { return height == 0 || width == 0; }
};

// output[i, j] = |a_i and b_j| / |a_i or b_j|, or, where is_crowd[j] is not 0, |a_i and b_j| / |a_i| (COCO's rule for
// crowd regions); 0 where the denominator is 0. The quotient of the exact counts, rounded to double and then to float.
KSEG_API Status mask_iou(const MaskStack& a, const MaskStack& b, const View<const uint8_t, 1>& is_crowd,
                         const View<float, 2>& output, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_MASK_IOU_H_
