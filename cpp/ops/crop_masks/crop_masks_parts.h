// The scalar half of crop_masks: where a box reads a mask, and the bits there.
#ifndef KSEG_OPS_CROP_MASKS_CROP_MASKS_PARTS_H_
#define KSEG_OPS_CROP_MASKS_CROP_MASKS_PARTS_H_

#include <cstdint>
#include <vector>

#include "ops/crop_masks/crop_masks.h"
#include "ops/rle/rle.h"
#include "ops/rle/rle_bits.h"
#include "ops/roi_align/roi_align_taps.h"

namespace kseg {

// For each bin the pixels that it averages, in rising order, with nonzero weights: those of roi_align, each sample's
// weight rounded to float and their sum over a pixel not.
void crop_taps(float begin, float end, int64_t extent, int64_t bins, const CropMasksOptions& options,
               RoiTapLists<double>* lists);

// What the bins of columns read of a row, as words of up to 64 neighbouring pixels: most bins have one. The words of
// bin b are those from first[b] up to first[b + 1], at least one.
struct CropWords {
  std::vector<int32_t> first;
  std::vector<int64_t> bytes;    // where the pixels begin in the row
  std::vector<uint64_t> masks;   // which of them the bin reads
  std::vector<double> totals;    // the sum of all weights
  std::vector<double> weights;   // 64 per word, by bit
  bool one_each = false;         // word i is bin i

  // For rows that begin at pixel `left`.
  void assign(const RoiTapLists<double>& columns, int64_t bins, int64_t left);
};

// The bits of a window, row by row; at least eight bytes can be read from the last byte of each row on.
struct WindowBits {
  int64_t row_bytes = 0;
  std::vector<uint8_t> rows;
  ColumnBits columns;
};

// Masks of any form, checked.
class CropSource {
 public:
  virtual ~CropSource() = default;
  // Reads a window that lies in the mask. Its left edge is a multiple of 8.
  virtual void read(int64_t mask, const MaskWindow& window, WindowBits* bits) const = 0;

  int64_t count = 0;
  int64_t height = 0;
  int64_t width = 0;
};

// The dispatched part, in crop_masks.cc.
Status crop_masks(const CropSource& source, const CropBoxes& boxes, const CropMasksOptions& options,
                  const View<float, 3>& output, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_CROP_MASKS_CROP_MASKS_PARTS_H_
