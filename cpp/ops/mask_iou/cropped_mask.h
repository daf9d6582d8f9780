// A binary mask as bits, cropped to the rows and the 64-pixel words that its bounding box touches.
#ifndef KSEG_OPS_MASK_IOU_CROPPED_MASK_H_
#define KSEG_OPS_MASK_IOU_CROPPED_MASK_H_

#include <algorithm>
#include <cstdint>
#include <vector>

namespace kseg {

// Words are aligned to the image, not to the mask: two masks meet without shifting. Those of one column of words stand
// one below the other, so that the rows which two masks share are a contiguous piece of each, however narrow they are.
struct CroppedMask {
  int64_t top = 0, bottom = 0;  // rows [top, bottom)
  int64_t left = 0, right = 0;  // pixels [left, right)
  int64_t first_word = 0;       // left / 64
  int64_t words = 0;            // columns of them
  int64_t area = 0;
  std::vector<uint64_t> bits;   // [words, bottom - top]

  // Row `y` of column `word`, both counted in the image.
  const uint64_t* at(int64_t word, int64_t y) const {
    return bits.data() + (word - first_word) * (bottom - top) + y - top;
  }
};

inline bool boxes_meet(const CroppedMask& a, const CroppedMask& b) {
  return a.top < b.bottom && b.top < a.bottom && a.left < b.right && b.left < a.right;
}

// Both counts below 2**53, so that the one rounding of the quotient is all there is before the one to float.
inline float iou_of_counts(int64_t intersection, int64_t denominator) {
  return denominator == 0 ? 0.0f
                          : static_cast<float>(static_cast<double>(intersection) / static_cast<double>(denominator));
}

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_CROPPED_MASK_H_
