// What the launchers of RoIAlign check, on the CPU and for a GPU.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CHECK_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CHECK_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "base/status.h"
#include "base/view.h"
#include "ops/roi_align/roi_align.h"

namespace kseg {

inline Status check_roi_align_attributes(int64_t output_height, int64_t output_width, float spatial_scale,
                                         int64_t sampling_ratio) {
  for (const int64_t size : {output_height, output_width}) {
    if (size < 1 || size > kMaxRoiOutputSize) {
      return invalid_argument("output_size must be in 1..", kMaxRoiOutputSize, ", got ", size);
    }
  }
  if (!(spatial_scale > 0) || !std::isfinite(spatial_scale)) {
    return invalid_argument("spatial_scale must be positive and finite, got ", spatial_scale);
  }
  if (sampling_ratio < 0 || sampling_ratio > kMaxRoiSamplingRatio) {
    return invalid_argument("sampling_ratio must be in 0..", kMaxRoiSamplingRatio, ", got ", sampling_ratio);
  }
  return Status();
}

// What the caller knows the two arrays as.
struct RoiAlignNames {
  const char* features;
  const char* output;
};

// All but the image indices, which lie in device memory for a GPU.
inline Status check_roi_align_shapes(const RoiAlignNames& names, const Shape<4>& features, const Shape<4>& output,
                                     const Rois& rois, const RoiAlignOptions& options) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t boxes = rois.boxes.shape[0];
  if (rois.boxes.shape[1] != 4) {
    return invalid_argument("boxes must have shape [K, 4], got ", to_string<2>(rois.boxes.shape));
  }
  if (rois.image_indices.shape[0] != boxes) {
    return invalid_argument("box_indices must have one entry per box, ", boxes, ", got ", rois.image_indices.shape[0]);
  }
  KSEG_RETURN_IF_ERROR(check_roi_align_attributes(output[1], output[2], options.spatial_scale, options.sampling_ratio));
  for (const int axis : {1, 2}) {
    if (features[axis] > kMost || (boxes > 0 && features[axis] < 1)) {
      return invalid_argument(names.features,
                              " must have at least one row and one column, and fewer than 2**31, got shape ",
                              to_string<4>(features));
    }
  }
  if (output[0] != boxes || output[3] != features[3]) {
    return invalid_argument(names.output, " must have shape [K, h, w, C] with K = ", boxes, " and C = ", features[3],
                            ", got ", to_string<4>(output));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CHECK_H_
