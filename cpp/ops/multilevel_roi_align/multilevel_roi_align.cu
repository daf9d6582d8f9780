// The kernels are those of roi_align, which take any number of maps; see there for the reckoning.
#include "ops/multilevel_roi_align/multilevel_roi_align_cuda.h"

#include <cstdint>
#include <vector>

#include "ops/multilevel_roi_align/multilevel_roi_align_check.h"
#include "ops/roi_align/roi_align_maps_cuda.h"

namespace kseg {
namespace {

static_assert(kMaxRoiLevels <= kMostCudaRoiMaps);

template <class T>
CudaRoiMaps<T> maps_of(const std::vector<View<T, 4>>& levels, const MultilevelRoiAlignOptions& options) {
  CudaRoiMaps<T> maps;
  for (const View<T, 4>& level : levels) {
    const float least_area = maps.count == 0 ? 0.0f : options.level_areas[maps.count - 1];
    maps.map[maps.count] = {level.data, static_cast<int32_t>(level.shape[1]), static_cast<int32_t>(level.shape[2]),
                            options.spatial_scales[maps.count], least_area};
    ++maps.count;
  }
  maps.batch = levels[0].shape[0];
  maps.channels = levels[0].shape[3];
  return maps;
}

// The boxes of all images as one list.
CudaRois rois_of(const View<const float, 3>& boxes, const MultilevelRoiAlignOptions& options, const Shape<5>& output) {
  return {boxes.data,     nullptr, output[1], output[0] * output[1], output[2], output[3], options.sampling_ratio,
          options.aligned};
}

}  // namespace

template <class T>
Status multilevel_roi_align_cuda(const std::vector<View<const T, 4>>& features, const View<const float, 3>& boxes,
                                 const MultilevelRoiAlignOptions& options, const View<T, 5>& output,
                                 const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(
      check_multilevel_roi_align_shapes({"features", "output"}, features, output.shape, boxes.shape, options));
  return pool_rois_cuda<T>(maps_of(features, options), rois_of(boxes, options, output.shape), output.data, context);
}

template <class T>
Status multilevel_roi_align_grad_cuda(const View<const T, 5>& output_gradient, const View<const float, 3>& boxes,
                                      const MultilevelRoiAlignOptions& options,
                                      const std::vector<View<T, 4>>& features_gradients, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_multilevel_roi_align_shapes({"features_shapes", "output_gradient"}, features_gradients,
                                                         output_gradient.shape, boxes.shape, options));
  return unpool_rois_cuda<T>(output_gradient.data, rois_of(boxes, options, output_gradient.shape),
                             maps_of(features_gradients, options), context);
}

#define KSEG_INSTANTIATE(T)                                                                                            \
  template KSEG_API Status multilevel_roi_align_cuda<T>(const std::vector<View<const T, 4>>&,                          \
                                                        const View<const float, 3>&, const MultilevelRoiAlignOptions&, \
                                                        const View<T, 5>&, const CudaContext&);                        \
  template KSEG_API Status multilevel_roi_align_grad_cuda<T>(const View<const T, 5>&, const View<const float, 3>&,     \
                                                             const MultilevelRoiAlignOptions&,                         \
                                                             const std::vector<View<T, 4>>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
