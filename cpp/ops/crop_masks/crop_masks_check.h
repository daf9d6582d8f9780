// What crop_masks checks, on the CPU and for a GPU.
#ifndef KSEG_OPS_CROP_MASKS_CROP_MASKS_CHECK_H_
#define KSEG_OPS_CROP_MASKS_CROP_MASKS_CHECK_H_

#include <cstdint>

#include "base/status.h"
#include "base/view.h"
#include "ops/crop_masks/crop_masks.h"
#include "ops/roi_align/roi_align.h"

namespace kseg {

inline Status check_crop_options(int64_t height, int64_t width, int64_t sampling_ratio) {
  for (const int64_t size : {height, width}) {
    if (size < 1 || size > kMostCropBins) {
      return invalid_argument("size must be in 1..", kMostCropBins, ", got ", size);
    }
  }
  if (sampling_ratio < 0 || sampling_ratio > kMaxRoiSamplingRatio) {
    return invalid_argument("sampling_ratio must be in 0..", kMaxRoiSamplingRatio, ", got ", sampling_ratio);
  }
  return Status();
}

inline Status check_crop_total(int64_t boxes, const CropMasksOptions& options) {
  if (boxes <= kMostCropped / (options.height * options.width)) return Status();
  return invalid_argument("boxes must be few enough for at most ", kMostCropped, " values of ", options.height, " x ",
                          options.width, " each, got ", boxes);
}

// All but the mask indices, which lie in device memory for a GPU.
inline Status check_crop_shapes(const CropBoxes& boxes, const CropMasksOptions& options, const Shape<3>& output) {
  const int64_t count = boxes.boxes.shape[0];
  KSEG_RETURN_IF_ERROR(check_crop_options(options.height, options.width, options.sampling_ratio));
  KSEG_RETURN_IF_ERROR(check_crop_total(count, options));
  if (boxes.boxes.shape[1] != 4) {
    return invalid_argument("boxes must have shape [K, 4], got ", to_string<2>(boxes.boxes.shape));
  }
  if (boxes.mask_indices.shape[0] != count) {
    return invalid_argument("mask_indices must have one entry per box, ", count, ", got ", boxes.mask_indices.shape[0]);
  }
  if (output != Shape<3>{count, options.height, options.width}) {
    return invalid_argument("the result must have shape [K, h, w], got ", to_string<3>(output));
  }
  return Status();
}

inline Status check_crop_image_size(const CropImageSize& size) {
  if (size.height < 0 || size.width < 0 || size.height > kMostCropSide || size.width > kMostCropSide) {
    return invalid_argument("image_size must be in 0..", kMostCropSide, ", got [", size.height, ", ", size.width, "]");
  }
  return Status();
}

inline Status check_crop_dense(const Shape<3>& masks, bool packed, const CropImageSize& image_size) {
  KSEG_RETURN_IF_ERROR(check_crop_image_size(image_size));
  const int64_t row_bytes = packed ? (image_size.width + 7) / 8 : image_size.width;
  if (masks[1] == image_size.height && masks[2] == row_bytes) return Status();
  return invalid_argument("masks must have shape [M, ", image_size.height, ", ", row_bytes, "] for ",
                          packed ? "packed" : "dense", " masks of image_size [", image_size.height, ", ",
                          image_size.width, "], got ", to_string<3>(masks));
}

}  // namespace kseg

#endif  // KSEG_OPS_CROP_MASKS_CROP_MASKS_CHECK_H_
