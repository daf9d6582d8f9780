#include "ops/multilevel_roi_align/multilevel_roi_align.h"

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "adapters/numpy_adapter.h"
#include "base/result_size.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

struct Arguments {
  py::array boxes;
  View<const float, 3> boxes_view;
  MultilevelRoiAlignOptions options;

  Arguments(const py::array& boxes_array, int64_t height, int64_t width, int64_t levels,
            const std::vector<double>& spatial_scales, const std::vector<double>& level_areas, int64_t sampling_ratio,
            bool aligned)
      : boxes(dense(boxes_array)), boxes_view(view_of<float, 3>(boxes, "boxes")) {
    options.spatial_scales.assign(spatial_scales.begin(), spatial_scales.end());
    options.level_areas.assign(level_areas.begin(), level_areas.end());
    options.aligned = aligned;
    raise_if_error(check_multilevel_roi_align(height, width, sampling_ratio, levels, &options));
  }
};

py::array multilevel_roi_align_numpy(const std::vector<py::array>& features, const py::array& boxes,
                                     std::pair<int64_t, int64_t> output_size, const std::vector<double>& spatial_scales,
                                     const std::vector<double>& level_areas, int64_t sampling_ratio, bool aligned) {
  const Arguments arguments(boxes, output_size.first, output_size.second, static_cast<int64_t>(features.size()),
                            spatial_scales, level_areas, sampling_ratio, aligned);
  std::vector<py::array> kept;
  for (const py::array& level : features) kept.push_back(dense(level));
  return visit_dtype<float, Half, BFloat16, double>(kept[0], "features", [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::vector<View<const T, 4>> views;
    for (const py::array& level : kept) views.push_back(view_of<T, 4>(level, "features"));
    const Shape<3>& boxes_shape = arguments.boxes_view.shape;
    raise_if_error(check_result_size("output_size", {boxes_shape[0], boxes_shape[1], output_size.first,
                                                     output_size.second, views[0].shape[3], int64_t{sizeof(T)}}));
    auto [output, output_view] = new_array<T, 5>(
        kept[0].dtype(), {boxes_shape[0], boxes_shape[1], output_size.first, output_size.second, views[0].shape[3]});
    const View<T, 5> to = output_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return multilevel_roi_align<T>(views, arguments.boxes_view, arguments.options, to, parallel_for);
    });
    return py::array(output);
  });
}

std::vector<py::array> multilevel_roi_align_grad_numpy(const py::array& output_gradient, const py::array& boxes,
                                                       const std::vector<Shape<4>>& features_shapes,
                                                       const std::vector<double>& spatial_scales,
                                                       const std::vector<double>& level_areas, int64_t sampling_ratio,
                                                       bool aligned) {
  const py::array from = dense(output_gradient);
  if (from.ndim() != 5) throw py::value_error("output_gradient must have rank 5, got " + std::to_string(from.ndim()));
  const Arguments arguments(boxes, from.shape(2), from.shape(3), static_cast<int64_t>(features_shapes.size()),
                            spatial_scales, level_areas, sampling_ratio, aligned);
  for (const Shape<4>& shape : features_shapes) {
    raise_if_error(check_result_size("features_shapes", {shape[0], shape[1], shape[2], shape[3], 8}));
    if (shape[0] != from.shape(0) || shape[3] != from.shape(4)) {
      throw py::value_error("features_shapes must have B = " + std::to_string(from.shape(0)) +
                            " and C = " + std::to_string(from.shape(4)) + ", got " + to_string<4>(shape));
    }
  }
  return visit_dtype<float, Half, BFloat16, double>(from, "output_gradient", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto view = view_of<T, 5>(from, "output_gradient");
    std::vector<py::array> gradients;
    std::vector<View<T, 4>> views;
    for (const Shape<4>& shape : features_shapes) {
      auto [gradient, gradient_view] = new_array<T, 4>(from.dtype(), shape);
      gradients.push_back(gradient);
      views.push_back(gradient_view);
    }
    run_kernel([&](const ParallelFor& parallel_for) {
      return multilevel_roi_align_grad<T>(view, arguments.boxes_view, arguments.options, views, parallel_for);
    });
    return gradients;
  });
}

}  // namespace

void bind_multilevel_roi_align(py::module_& module) {
  module.def("multilevel_roi_align", &multilevel_roi_align_numpy, py::arg("features"), py::arg("boxes"),
             py::arg("output_size"), py::arg("spatial_scales"), py::arg("level_areas"), py::arg("sampling_ratio") = 2,
             py::arg("aligned") = true,
             "RoIAlign over a pyramid: features, a list of [B, H, W, C], finest first, and boxes float32 [B, N, 4]\n"
             "-> [B, N, h, w, C]. A box goes to the last level whose entry in level_areas it reaches.");
  module.def("multilevel_roi_align_grad", &multilevel_roi_align_grad_numpy, py::arg("output_gradient"),
             py::arg("boxes"), py::arg("features_shapes"), py::arg("spatial_scales"), py::arg("level_areas"),
             py::arg("sampling_ratio") = 2, py::arg("aligned") = true,
             "The gradient of multilevel_roi_align with respect to its features, as a list.");
}

}  // namespace kseg
