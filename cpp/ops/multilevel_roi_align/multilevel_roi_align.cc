#include "ops/multilevel_roi_align/multilevel_roi_align.h"

#include <vector>

#include "base/huge_pages.h"
#include "ops/multilevel_roi_align/multilevel_roi_align_check.h"
#include "ops/roi_align/roi_align.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "ops/roi_align/roi_align_maps.h"  // target code only

KSEG_KERNEL_BEGIN
namespace {

template <class T>
std::vector<RoiMap<T>> maps_of(const std::vector<View<T, 4>>& levels, const MultilevelRoiAlignOptions& options) {
  std::vector<RoiMap<T>> maps;
  for (const View<T, 4>& level : levels) {
    maps.push_back({level.data, level.shape[1], level.shape[2], options.spatial_scales[maps.size()]});
  }
  return maps;
}

// The boxes of all images as one list.
PlacedRois placed(const View<const float, 3>& boxes, const std::vector<int32_t>& images,
                  const std::vector<int32_t>& levels) {
  return {{boxes.data, {boxes.shape[0] * boxes.shape[1], 4}}, images.data(), levels.data()};
}

RoiAlignOptions pooling(const MultilevelRoiAlignOptions& options) {
  return {1.0f, options.sampling_ratio, options.aligned};
}

}  // namespace

template <class T>
Status multilevel_roi_align_kernel(const std::vector<View<const T, 4>>& features, const View<const float, 3>& boxes,
                                   const std::vector<int32_t>& images, const std::vector<int32_t>& levels,
                                   const MultilevelRoiAlignOptions& options, const View<T, 5>& output,
                                   const ParallelFor& parallel_for) {
  const auto [batch, count, bin_rows, bin_columns, channels] = output.shape;
  pool_rois<T>(maps_of(features, options), placed(boxes, images, levels), pooling(options),
               {output.data, {batch * count, bin_rows, bin_columns, channels}}, parallel_for);
  return Status();
}

template <class T>
Status multilevel_roi_align_grad_kernel(const View<const T, 5>& output_gradient, const View<const float, 3>& boxes,
                                        const std::vector<int32_t>& images, const std::vector<int32_t>& levels,
                                        const MultilevelRoiAlignOptions& options,
                                        const std::vector<View<T, 4>>& features_gradients,
                                        const ParallelFor& parallel_for) {
  const auto [batch, count, bin_rows, bin_columns, channels] = output_gradient.shape;
  unpool_rois<T>({output_gradient.data, {batch * count, bin_rows, bin_columns, channels}},
                 placed(boxes, images, levels), pooling(options), batch, maps_of(features_gradients, options),
                 parallel_for);
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                           \
  template Status multilevel_roi_align_kernel<T>(                                                                     \
      const std::vector<View<const T, 4>>&, const View<const float, 3>&, const std::vector<int32_t>&,                 \
      const std::vector<int32_t>&, const MultilevelRoiAlignOptions&, const View<T, 5>&, const ParallelFor&);          \
  template Status multilevel_roi_align_grad_kernel<T>(                                                                \
      const View<const T, 5>&, const View<const float, 3>&, const std::vector<int32_t>&, const std::vector<int32_t>&, \
      const MultilevelRoiAlignOptions&, const std::vector<View<T, 4>>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status multilevel_roi_align_kernel(
    const std::vector<View<const T, 4>>&, const View<const float, 3>&, const std::vector<int32_t>&,
    const std::vector<int32_t>&, const MultilevelRoiAlignOptions&, const View<T, 5>&, const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T> Status multilevel_roi_align_grad_kernel(
    const View<const T, 5>&, const View<const float, 3>&, const std::vector<int32_t>&, const std::vector<int32_t>&,
    const MultilevelRoiAlignOptions&, const std::vector<View<T, 4>>&, const ParallelFor&))

Status check_multilevel_roi_align(int64_t output_height, int64_t output_width, int64_t sampling_ratio, int64_t levels,
                                  MultilevelRoiAlignOptions* options) {
  KSEG_RETURN_IF_ERROR(
      check_multilevel_roi_align_attributes(output_height, output_width, sampling_ratio, levels, *options));
  options->sampling_ratio = static_cast<int>(sampling_ratio);
  return Status();
}

namespace {

struct Placement {
  std::vector<int32_t> images;
  std::vector<int32_t> levels;

  Placement(const View<const float, 3>& boxes, const std::vector<float>& areas) {
    const int64_t per_image = boxes.shape[1];
    const int64_t count = boxes.shape[0] * per_image;
    images.resize(count);
    levels.resize(count);
    for (int64_t box = 0; box < count; ++box) {
      images[box] = static_cast<int32_t>(box / per_image);
      const float* const corners = boxes.data + 4 * box;
      const float area = (corners[2] - corners[0]) * (corners[3] - corners[1]);
      int32_t level = 0;  // of a NaN too
      for (const float least : areas) level += area >= least ? 1 : 0;
      levels[box] = level;
    }
  }
};

}  // namespace

template <class T>
Status multilevel_roi_align(const std::vector<View<const T, 4>>& features, const View<const float, 3>& boxes,
                            const MultilevelRoiAlignOptions& options, const View<T, 5>& output,
                            const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(
      check_multilevel_roi_align_shapes({"features", "output"}, features, output.shape, boxes.shape, options));
  if (output.empty()) return Status();
  const Placement placement(boxes, options.level_areas);
  prefer_huge_pages(output.data, output.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(multilevel_roi_align_kernel<T>, features, boxes, placement.images, placement.levels, options,
                       output, parallel_for);
}

template <class T>
Status multilevel_roi_align_grad(const View<const T, 5>& output_gradient, const View<const float, 3>& boxes,
                                 const MultilevelRoiAlignOptions& options,
                                 const std::vector<View<T, 4>>& features_gradients, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_multilevel_roi_align_shapes({"features_shapes", "output_gradient"}, features_gradients,
                                                         output_gradient.shape, boxes.shape, options));
  bool any = false;
  for (const View<T, 4>& gradient : features_gradients) {
    any = any || !gradient.empty();
    prefer_huge_pages(gradient.data, gradient.size() * static_cast<int64_t>(sizeof(T)));
  }
  if (!any) return Status();
  const Placement placement(boxes, options.level_areas);
  KSEG_RETURN_DISPATCH(multilevel_roi_align_grad_kernel<T>, output_gradient, boxes, placement.images, placement.levels,
                       options, features_gradients, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                                           \
  template KSEG_API Status multilevel_roi_align<T>(const std::vector<View<const T, 4>>&, const View<const float, 3>&, \
                                                   const MultilevelRoiAlignOptions&, const View<T, 5>&,               \
                                                   const ParallelFor&);                                               \
  template KSEG_API Status multilevel_roi_align_grad<T>(const View<const T, 5>&, const View<const float, 3>&,         \
                                                        const MultilevelRoiAlignOptions&,                             \
                                                        const std::vector<View<T, 4>>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
