// The kernels of RoIAlign over one or several feature maps, for the ops that pool boxes. Opens the target as
// base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_MAPS_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_MAPS_H_

#include <cstdint>
#include <vector>

#include "ops/roi_align/roi_align.h"

#include "base/kernel.h"

KSEG_KERNEL_BEGIN

// A batch of feature maps [B, height, width, C] of one resolution.
template <class T>
struct RoiMap {
  T* data;
  int64_t height;
  int64_t width;
  float spatial_scale;
};

// Where each box is pooled. All checked: images are in 0..B-1 and maps among those given.
struct PlacedRois {
  View<const float, 2> boxes;      // [K, 4]
  const int32_t* images;           // [K]
  const int32_t* maps = nullptr;   // [K]; null: all on the first

  int32_t map(int64_t box) const { return maps == nullptr ? 0 : maps[box]; }
};

// Each box of its map and image to output [K, h, w, C], written whole. Of `options`, all but the scale.
template <class T>
void pool_rois(const std::vector<RoiMap<const T>>& maps, const PlacedRois& rois, const RoiAlignOptions& options,
               const View<T, 4>& output, const ParallelFor& parallel_for);

// The adjoint: writes every map whole. Each pixel sums in the order of the boxes.
template <class T>
void unpool_rois(const View<const T, 4>& output_gradient, const PlacedRois& rois, const RoiAlignOptions& options,
                 int64_t batch, const std::vector<RoiMap<T>>& maps, const ParallelFor& parallel_for);

KSEG_KERNEL_END

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_MAPS_H_
