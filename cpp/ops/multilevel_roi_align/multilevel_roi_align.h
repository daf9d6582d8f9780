// RoIAlign over a feature pyramid (Lin et al. 2017, FPN, equation 1): each box is pooled on the level that fits its
// size.
//
// Levels come finest first. Which one a box goes to is said by areas, computed once per op from the rule in float32
// (kseg_ops/_pyramid.py), so that a box at the border of two levels goes the same way here and in the reference.
#ifndef KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_H_
#define KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_H_

#include <cstdint>
#include <vector>

#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int64_t kMaxRoiLevels = 32;

struct MultilevelRoiAlignOptions {
  std::vector<float> spatial_scales;  // per level: feature pixels per box unit
  std::vector<float> level_areas;  // rising, one fewer than levels: the least box area of each level but the first
  int sampling_ratio = 2;  // as RoiAlignOptions
  bool aligned = true;  // as RoiAlignOptions
};

// Checks attributes before memory is allocated for a result, and sets `options->sampling_ratio`.
KSEG_API Status check_multilevel_roi_align(int64_t output_height, int64_t output_width, int64_t sampling_ratio,
                                           int64_t levels, MultilevelRoiAlignOptions* options);

// features: per level [B, H, W, C] with one B and C; boxes [B, N, 4] -> output [B, N, h, w, C], which is written whole.
// T is float, double, Half or BFloat16. A box with a coordinate that is not finite gives zeros.
template <class T>
KSEG_API Status multilevel_roi_align(const std::vector<View<const T, 4>>& features, const View<const float, 3>& boxes,
                                     const MultilevelRoiAlignOptions& options, const View<T, 5>& output,
                                     const ParallelFor& parallel_for);

// The adjoint: output_gradient [B, N, h, w, C] -> per level [B, H, W, C], each written whole. The result does not
// depend on the number of threads.
template <class T>
KSEG_API Status multilevel_roi_align_grad(const View<const T, 5>& output_gradient, const View<const float, 3>& boxes,
                                          const MultilevelRoiAlignOptions& options,
                                          const std::vector<View<T, 4>>& features_gradients,
                                          const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_H_
