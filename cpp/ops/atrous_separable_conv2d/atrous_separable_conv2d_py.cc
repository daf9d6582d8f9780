#include "ops/atrous_separable_conv2d/atrous_separable_conv2d.h"

#include <string>
#include <vector>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

py::array separable_numpy(const py::array& x_array, const py::array& depthwise_array, const py::array& pointwise_array,
                          const py::array& depthwise_scale_array, const py::array& depthwise_offset_array,
                          const py::array& scale_array, const py::array& offset_array, const std::vector<int64_t>& rate,
                          const std::string& padding, const std::string& depthwise_activation,
                          const std::string& activation) {
  ConvOptions options;
  raise_if_error(parse_conv_options(rate, padding, &options));
  Activation activations[2] = {};
  raise_if_error(parse_activation(depthwise_activation, "depthwise_activation", &activations[0]));
  raise_if_error(parse_activation(activation, "activation", &activations[1]));
  const py::array x = dense(x_array), depthwise = dense(depthwise_array), pointwise = dense(pointwise_array);
  const py::array depthwise_scale = dense(depthwise_scale_array), depthwise_offset = dense(depthwise_offset_array);
  const py::array scale = dense(scale_array), offset = dense(offset_array);
  return visit_dtype<float, Half, BFloat16>(x, "x", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto view = view_of<T, 4>(x, "x");
    SeparableFilters<T> filters;
    filters.depthwise = view_of<T, 4>(depthwise, "depthwise");
    filters.pointwise = view_of<T, 4>(pointwise, "pointwise");
    filters.depthwise_scale = view_of<float, 1>(depthwise_scale, "depthwise_scale");
    filters.depthwise_offset = view_of<float, 1>(depthwise_offset, "depthwise_offset");
    filters.scale = view_of<float, 1>(scale, "scale");
    filters.offset = view_of<float, 1>(offset, "offset");
    filters.depthwise_activation = activations[0];
    filters.activation = activations[1];
    Shape<4> shape;
    raise_if_error(atrous_separable_shape(view.shape, filters, options, &shape));
    auto [output, output_view] = new_array<T, 4>(x.dtype(), shape);
    const View<T, 4> to = output_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return atrous_separable_conv2d<T>(view, filters, options, to, parallel_for);
    });
    return py::array(output);
  });
}

}  // namespace

void bind_atrous_separable_conv2d(py::module_& module) {
  module.def("atrous_separable_conv2d", &separable_numpy, py::arg("x"), py::arg("depthwise"), py::arg("pointwise"),
             py::arg("depthwise_scale"), py::arg("depthwise_offset"), py::arg("scale"), py::arg("offset"),
             py::arg("rate"), py::arg("padding"), py::arg("depthwise_activation") = "", py::arg("activation") = "",
             "Atrous separable convolution: x [B, H, W, C] (float32, float16 or bfloat16), depthwise [kh, kw, C, m],\n"
             "pointwise [1, 1, C * m, F], float32 scales and offsets (of no elements: none) -> [B, h, w, F].");
}

}  // namespace kseg
