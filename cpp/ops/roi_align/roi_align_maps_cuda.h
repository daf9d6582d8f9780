// RoIAlign over one or several feature maps on a GPU, for the ops that pool boxes.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_MAPS_CUDA_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_MAPS_CUDA_H_

#include <cstdint>

#include "base/cuda/context.h"
#include "base/cuda/launch_shape.h"
#include "ops/roi_align/roi_align.h"

namespace kseg {

inline constexpr int kMostCudaRoiMaps = 32;

// Maps [batch, height, width, channels] of one or several resolutions. T may be const.
template <class T>
struct CudaRoiMaps {
  struct Map {
    T* data;
    int32_t height;
    int32_t width;
    float spatial_scale;
    float least_area;  // boxes of this area and more are not for the map before
  };

  Map map[kMostCudaRoiMaps];
  int count = 0;
  int64_t batch = 0;
  int64_t channels = 0;
};

// Boxes in device memory and how they are sampled.
struct CudaRois {
  const float* boxes;     // [count, 4]
  const int32_t* images;  // [count]; null: the boxes of each image follow those of the one before, `per_image` of each
  int64_t per_image;
  int64_t count;
  int64_t bin_rows;
  int64_t bin_columns;
  int sampling_ratio;
  bool aligned;
};

// Each box to output [count, bin_rows, bin_columns, channels], written whole; one launch.
template <class T>
Status pool_rois_cuda(const CudaRoiMaps<const T>& maps, const CudaRois& rois, T* output, const CudaContext& context);

// The adjoint: writes every map whole. Each pixel sums in the order of the boxes.
template <class T>
Status unpool_rois_cuda(const T* output_gradient, const CudaRois& rois, const CudaRoiMaps<T>& maps,
                        const CudaContext& context);

// How the forward pass is launched: blocks that pool `group_bins` bins of a row, of which `groups` make a row.
// `vectors` of channels lie in a pixel.
struct RoiPoolShape {
  int groups;
  int group_bins;
  LaunchShape launch;
};
RoiPoolShape roi_pool_shape(int64_t boxes, int64_t bin_rows, int64_t bin_columns, int64_t vectors);

// How the backward pass is launched: a block per tile of each map and image, and slice of channels.
inline constexpr int kRoiTile = 8;  // pixels along either axis
inline constexpr int kRoiGradVector = 4;  // channels that a thread sums
struct RoiTiles {
  int64_t first_unit[kMostCudaRoiMaps];  // of each map
  int64_t units;
  int64_t slices;  // of channels
};
template <class T>
RoiTiles roi_tiles(const CudaRoiMaps<T>& maps, int vector) {
  RoiTiles tiles{};
  tiles.slices = ceil_div(maps.channels, vector * kWarpSize);
  for (int i = 0; i < maps.count; ++i) {
    tiles.first_unit[i] = tiles.units;
    tiles.units +=
        maps.batch * ceil_div(maps.map[i].height, kRoiTile) * ceil_div(maps.map[i].width, kRoiTile) * tiles.slices;
  }
  return tiles;
}

// The one map of roi_align(). T may be const.
template <class T>
CudaRoiMaps<T> cuda_roi_map(const View<T, 4>& features, const RoiAlignOptions& options) {
  CudaRoiMaps<T> maps;
  maps.map[0] = {features.data, static_cast<int32_t>(features.shape[1]), static_cast<int32_t>(features.shape[2]),
                 options.spatial_scale, 0.0f};
  maps.count = 1;
  maps.batch = features.shape[0];
  maps.channels = features.shape[3];
  return maps;
}
inline CudaRois cuda_rois(const Rois& rois, const RoiAlignOptions& options, const Shape<4>& output) {
  return {rois.boxes.data,        rois.image_indices.data, 1, output[0], output[1], output[2],
          options.sampling_ratio, options.aligned};
}

}  // namespace kseg

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_MAPS_CUDA_H_
