// What the launchers of multilevel RoIAlign check, on the CPU and for a GPU.
#ifndef KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CHECK_H_
#define KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CHECK_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "ops/multilevel_roi_align/multilevel_roi_align.h"
#include "ops/roi_align/roi_align_check.h"

namespace kseg {

inline Status check_multilevel_roi_align_attributes(int64_t output_height, int64_t output_width, int64_t sampling_ratio,
                                                    int64_t levels, const MultilevelRoiAlignOptions& options) {
  if (levels < 1 || levels > kMaxRoiLevels) {
    return invalid_argument("features must have 1 to ", kMaxRoiLevels, " levels, got ", levels);
  }
  if (static_cast<int64_t>(options.spatial_scales.size()) != levels) {
    return invalid_argument("spatial_scales must have one entry per level, ", levels, ", got ",
                            options.spatial_scales.size());
  }
  for (const float scale : options.spatial_scales) {
    if (!(scale > 0) || !std::isfinite(scale)) {
      return invalid_argument("spatial_scales must be positive and finite, got ", scale);
    }
    KSEG_RETURN_IF_ERROR(check_roi_align_attributes(output_height, output_width, scale, sampling_ratio));
  }
  if (static_cast<int64_t>(options.level_areas.size()) != levels - 1) {
    return invalid_argument("level_areas must have one entry fewer than there are levels, ", levels - 1, ", got ",
                            options.level_areas.size());
  }
  float last = -std::numeric_limits<float>::infinity();
  for (const float area : options.level_areas) {
    if (!(area >= last)) return invalid_argument("level_areas must rise and not be NaN, got ", area, " after ", last);
    last = area;
  }
  return Status();
}

// What the caller knows the arrays as.
struct MultilevelRoiAlignNames {
  const char* features;
  const char* output;
};

template <class T>
Status check_multilevel_roi_align_shapes(const MultilevelRoiAlignNames& names, const std::vector<View<T, 4>>& features,
                                         const Shape<5>& output, const Shape<3>& boxes,
                                         const MultilevelRoiAlignOptions& options) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  KSEG_RETURN_IF_ERROR(check_multilevel_roi_align_attributes(output[2], output[3], options.sampling_ratio,
                                                             static_cast<int64_t>(features.size()), options));
  if (boxes[2] != 4) return invalid_argument("boxes must have shape [B, N, 4], got ", to_string<3>(boxes));
  if (boxes[0] > kMost) return invalid_argument("boxes must be of fewer than 2**31 images, got ", boxes[0]);
  const bool any_box = boxes[0] > 0 && boxes[1] > 0;
  for (size_t level = 0; level < features.size(); ++level) {
    const Shape<4>& shape = features[level].shape;
    if (shape[0] != boxes[0]) {
      return invalid_argument(names.features, "[", level, "] must have the batch size of boxes, ", boxes[0],
                              ", got shape ", to_string<4>(shape));
    }
    if (shape[3] != output[4]) {
      return invalid_argument(names.features, "[", level, "] must have ", output[4], " channels, got shape ",
                              to_string<4>(shape));
    }
    for (const int axis : {1, 2}) {
      if (shape[axis] > kMost || (any_box && shape[axis] < 1)) {
        return invalid_argument(names.features, "[", level,
                                "] must have at least one row and one column, and fewer than 2**31, got shape ",
                                to_string<4>(shape));
      }
    }
  }
  if (output[0] != boxes[0] || output[1] != boxes[1]) {
    return invalid_argument(names.output, " must have shape [B, N, h, w, C] with B = ", boxes[0], " and N = ", boxes[1],
                            ", got ", to_string<5>(output));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CHECK_H_
