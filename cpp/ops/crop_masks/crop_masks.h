// Crops of binary masks, resampled by RoIAlign: the targets that a mask head is trained with. Reads bits, and of
// run-length encoded masks and polygons decodes the part below each box; a mask of floats never exists.
//
// kseg_ops/reference/crop_masks.py spells the semantics out. Weights are float32 as RoIAlign's are, sums are double,
// and each result is rounded to float once.
#ifndef KSEG_OPS_CROP_MASKS_CROP_MASKS_H_
#define KSEG_OPS_CROP_MASKS_CROP_MASKS_H_

#include <cstdint>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int64_t kMostCropBins = 4096;              // per axis
inline constexpr int64_t kMostCropSide = int64_t{1} << 24;  // of a mask: float32 counts pixels up to here
inline constexpr int64_t kMostCropped = int64_t{1} << 31;   // elements of the result

struct CropMasksOptions {
  int64_t height = 0;  // of a crop
  int64_t width = 0;
  int sampling_ratio = 0;  // samples per bin and axis; 0: ceil(box size / bins)
  bool aligned = false;    // see roi_align
};

// Checks attributes before anything is made of them, and sets `*narrowed` to the sampling ratio.
KSEG_API Status check_crop_masks(int64_t height, int64_t width, int64_t sampling_ratio, int* narrowed);
// Checks that the result is of a size that can be meant.
KSEG_API Status check_crop_count(int64_t boxes, const CropMasksOptions& options);

struct CropBoxes {
  View<const float, 2> boxes;           // [K, 4], x1 y1 x2 y2; one that is not finite gives zeros
  View<const int32_t, 1> mask_indices;  // [K], which of the M masks each box is cut from; -1 gives zeros
};
struct CropImageSize {
  int64_t height = 0;
  int64_t width = 0;
};

// All write output [K, height, width] whole.

// masks [M, H, W], where what is not 0 is the mask, or packed [M, H, ceil(W / 8)].
KSEG_API Status crop_dense_masks(const View<const uint8_t, 3>& masks, bool packed, const CropImageSize& image_size,
                                 const CropBoxes& boxes, const CropMasksOptions& options, const View<float, 3>& output,
                                 const ParallelFor& parallel_for);

// Run lengths by columns, zeros first: those of mask m are counts[splits[m]..splits[m + 1]), splits [M + 1].
KSEG_API Status crop_rle_masks(const View<const int32_t, 1>& counts, const View<const int64_t, 1>& splits,
                               const CropImageSize& image_size, const CropBoxes& boxes, const CropMasksOptions& options,
                               const View<float, 3>& output, const ParallelFor& parallel_for);

// Polygon p has the corners coordinates[polygon_splits[p]..polygon_splits[p + 1]), x and y in turn; mask m is the union
// of polygons mask_splits[m]..mask_splits[m + 1], rasterised as COCO does. T is float or double.
template <class T>
KSEG_API Status crop_polygon_masks(const View<const T, 1>& coordinates, const View<const int64_t, 1>& polygon_splits,
                                   const View<const int64_t, 1>& mask_splits, const CropImageSize& image_size,
                                   const CropBoxes& boxes, const CropMasksOptions& options,
                                   const View<float, 3>& output, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_CROP_MASKS_CROP_MASKS_H_
