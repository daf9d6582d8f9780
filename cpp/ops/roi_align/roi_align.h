// RoIAlign (He et al. 2017, Mask R-CNN): each box of a feature map, resampled to a grid of fixed size.
//
// Semantics are those of torchvision and detectron2; kseg_ops/reference/roi_align.py spells them out. Sampling grid,
// bilinear weights and the out-of-range rule factor by axis, so that an output is Wy * F * Wx^T with banded weights.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_H_

#include <cstdint>

#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int kMaxRoiSamplingRatio = 128;
inline constexpr int64_t kMaxRoiOutputSize = 1 << 20;  // per axis

struct RoiAlignOptions {
  float spatial_scale = 1.0f;  // feature pixels per box unit; positive and finite
  int sampling_ratio = 2;      // samples per bin and axis, at most kMaxRoiSamplingRatio; 0: ceil(box size / bins)
  bool aligned = true;         // pixel centres lie half a pixel in; false: boxes are at least one feature pixel wide
};

// Checks attributes before memory is allocated for a result, and sets `*narrowed` to the sampling ratio.
KSEG_API Status check_roi_align(int64_t output_height, int64_t output_width, float spatial_scale,
                                int64_t sampling_ratio, int* narrowed);

struct Rois {
  View<const float, 2> boxes;            // [K, 4], x1 y1 x2 y2
  View<const int32_t, 1> image_indices;  // [K], each in 0..B-1
};

// features [B, H, W, C] -> output [K, h, w, C], which is written whole. T is float, double, Half or BFloat16; sums and
// coordinates are float, or double for double. A box with a coordinate that is not finite gives zeros.
template <class T>
KSEG_API Status roi_align(const View<const T, 4>& features, const Rois& rois, const RoiAlignOptions& options,
                          const View<T, 4>& output, const ParallelFor& parallel_for);

// The adjoint: output_gradient [K, h, w, C] -> features_gradient [B, H, W, C], which is written whole. Each pixel sums
// its contributions in the order of the boxes, so the result does not depend on the number of threads.
template <class T>
KSEG_API Status roi_align_grad(const View<const T, 4>& output_gradient, const Rois& rois,
                               const RoiAlignOptions& options, const View<T, 4>& features_gradient,
                               const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_H_
