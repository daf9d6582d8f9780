#include "cuda_harness/harness.h"
#include "ops/roi_align/roi_align_cuda.h"
#include "ops/roi_align/roi_align_maps_cuda.h"

namespace kseg {
namespace {

Rois rois_of(const HarnessCall& call) { return {call.array<const float, 2>(1), call.array<const int32_t, 1>(2)}; }

RoiAlignOptions options_of(const HarnessCall& call) {
  return {static_cast<float>(call.number(0)), static_cast<int>(call.integer(1)), call.integer(2) != 0};
}

}  // namespace
}  // namespace kseg

// features, boxes, box_indices -> output; spatial_scale, sampling_ratio, aligned
KSEG_HARNESS(roi_align) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return roi_align_cuda<T>(call.array<const T, 4>(0), rois_of(call), options_of(call), call.array<T, 4>(3),
                             call.context());
  });
}

// output_gradient, boxes, box_indices -> features_gradient; spatial_scale, sampling_ratio, aligned
KSEG_HARNESS(roi_align_grad) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return roi_align_grad_cuda<T>(call.array<const T, 4>(0), rois_of(call), options_of(call), call.array<T, 4>(3),
                                  call.context());
  });
}

// For tests: boxes, bin_rows, bin_columns, vectors of channels -> the shape of the forward pass, and groups, group_bins
KSEG_HARNESS(roi_align_shape) {
  using namespace kseg;
  const RoiPoolShape shape = roi_pool_shape(call.integer(0), call.integer(1), call.integer(2), call.integer(3));
  call.store_shape(0, shape.launch);
  int64_t* const groups = call.array<int64_t, 1>(1).data;
  groups[0] = shape.groups;
  groups[1] = shape.group_bins;
  return check_launch_shape(shape.launch);
}

// batch, height, width, channels, channels of a vector -> tiles, slices of channels
KSEG_HARNESS(roi_align_tiles) {
  using namespace kseg;
  CudaRoiMaps<float> maps;
  maps.map[0] = {nullptr, static_cast<int32_t>(call.integer(1)), static_cast<int32_t>(call.integer(2)), 1.0f, 0.0f};
  maps.count = 1;
  maps.batch = call.integer(0);
  maps.channels = call.integer(3);
  const RoiTiles tiles = roi_tiles(maps, static_cast<int>(call.integer(4)));
  int64_t* const counts = call.array<int64_t, 1>(0).data;
  counts[0] = tiles.units;
  counts[1] = tiles.slices;
  return Status();
}
