#include "ops/roi_align/roi_align.h"

#include <array>
#include <string>
#include <utility>

#include "adapters/numpy_adapter.h"
#include "base/result_size.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

struct Arguments {
  py::array boxes;
  py::array indices;
  Rois rois;
  RoiAlignOptions options;

  Arguments(const py::array& boxes_array, const py::array& indices_array, int64_t height, int64_t width,
            double spatial_scale, int64_t sampling_ratio, bool aligned)
      : boxes(dense(boxes_array)), indices(dense(indices_array)) {
    rois.boxes = view_of<float, 2>(boxes, "boxes");
    rois.image_indices = view_of<int32_t, 1>(indices, "box_indices");
    options.spatial_scale = static_cast<float>(spatial_scale);
    options.aligned = aligned;
    raise_if_error(check_roi_align(height, width, options.spatial_scale, sampling_ratio, &options.sampling_ratio));
  }
};

py::array roi_align_numpy(const py::array& features, const py::array& boxes, const py::array& box_indices,
                          std::pair<int64_t, int64_t> output_size, double spatial_scale, int64_t sampling_ratio,
                          bool aligned) {
  const Arguments arguments(boxes, box_indices, output_size.first, output_size.second, spatial_scale, sampling_ratio,
                            aligned);
  const py::array from = dense(features);
  return visit_dtype<float, Half, BFloat16, double>(from, "features", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto view = view_of<T, 4>(from, "features");
    raise_if_error(check_result_size("output_size", {arguments.rois.boxes.shape[0], output_size.first,
                                                     output_size.second, view.shape[3], int64_t{sizeof(T)}}));
    auto [output, output_view] = new_array<T, 4>(
        from.dtype(), {arguments.rois.boxes.shape[0], output_size.first, output_size.second, view.shape[3]});
    const View<T, 4> to = output_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return roi_align<T>(view, arguments.rois, arguments.options, to, parallel_for);
    });
    return py::array(output);
  });
}

py::array roi_align_grad_numpy(const py::array& output_gradient, const py::array& boxes, const py::array& box_indices,
                               const Shape<4>& features_shape, double spatial_scale, int64_t sampling_ratio,
                               bool aligned) {
  const py::array from = dense(output_gradient);
  if (from.ndim() != 4) throw py::value_error("output_gradient must have rank 4, got " + std::to_string(from.ndim()));
  const auto& [batch, height, width, channels] = features_shape;
  raise_if_error(check_result_size("features_shape", {batch, height, width, channels, 8}));
  const Arguments arguments(boxes, box_indices, from.shape(1), from.shape(2), spatial_scale, sampling_ratio, aligned);
  return visit_dtype<float, Half, BFloat16, double>(from, "output_gradient", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto view = view_of<T, 4>(from, "output_gradient");
    auto [gradient, gradient_view] = new_array<T, 4>(from.dtype(), features_shape);
    const View<T, 4> to = gradient_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return roi_align_grad<T>(view, arguments.rois, arguments.options, to, parallel_for);
    });
    return py::array(gradient);
  });
}

}  // namespace

void bind_roi_align(py::module_& module) {
  module.def("roi_align", &roi_align_numpy, py::arg("features"), py::arg("boxes"), py::arg("box_indices"),
             py::arg("output_size"), py::arg("spatial_scale") = 1.0, py::arg("sampling_ratio") = 2,
             py::arg("aligned") = true,
             "RoIAlign: features [B, H, W, C] (float32, float16, bfloat16 or float64), boxes float32 [K, 4] as\n"
             "x1 y1 x2 y2, box_indices int32 [K], output_size (h, w) -> [K, h, w, C] in the dtype of the features.");
  module.def("roi_align_grad", &roi_align_grad_numpy, py::arg("output_gradient"), py::arg("boxes"),
             py::arg("box_indices"), py::arg("features_shape"), py::arg("spatial_scale") = 1.0,
             py::arg("sampling_ratio") = 2, py::arg("aligned") = true,
             "The gradient of roi_align with respect to its features: output_gradient [K, h, w, C] -> [B, H, W, C].");
}

}  // namespace kseg
