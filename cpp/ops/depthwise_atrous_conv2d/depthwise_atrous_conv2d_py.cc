#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d.h"

#include <string>
#include <vector>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

ConvOptions options_of(const std::vector<int64_t>& rate, const std::string& padding) {
  ConvOptions options;
  raise_if_error(parse_conv_options(rate, padding, &options));
  return options;
}

py::array depthwise_numpy(const py::array& x_array, const py::array& filters_array, const std::vector<int64_t>& rate,
                          const std::string& padding) {
  const ConvOptions options = options_of(rate, padding);
  const py::array x = dense(x_array), filters = dense(filters_array);
  return visit_dtype<float, Half, BFloat16>(x, "x", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto x_view = view_of<T, 4>(x, "x");
    const auto filters_view = view_of<T, 4>(filters, "filters");
    Shape<4> shape;
    raise_if_error(depthwise_atrous_shape(x_view.shape, filters_view.shape, options, &shape));
    auto [output, output_view] = new_array<T, 4>(x.dtype(), shape);
    const View<T, 4> to = output_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return depthwise_atrous_conv2d<T>(x_view, filters_view, options, to, parallel_for);
    });
    return py::array(output);
  });
}

template <bool of_input>
py::array gradient_numpy(const py::array& x_array, const py::array& filters_array, const py::array& gradient_array,
                         const std::vector<int64_t>& rate, const std::string& padding) {
  const ConvOptions options = options_of(rate, padding);
  const py::array x = dense(x_array), filters = dense(filters_array), gradient = dense(gradient_array);
  return visit_dtype<float, Half, BFloat16>(x, "x", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto x_view = view_of<T, 4>(x, "x");
    const auto filters_view = view_of<T, 4>(filters, "filters");
    const auto gradient_view = view_of<T, 4>(gradient, "output_gradient");
    auto [output, output_view] = new_array<T, 4>(x.dtype(), of_input ? x_view.shape : filters_view.shape);
    const View<T, 4> to = output_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return of_input ? depthwise_atrous_conv2d_input_grad<T>(gradient_view, filters_view, options, to, parallel_for)
                      : depthwise_atrous_conv2d_filter_grad<T>(x_view, gradient_view, options, to, parallel_for);
    });
    return py::array(output);
  });
}

}  // namespace

void bind_depthwise_atrous_conv2d(py::module_& module) {
  module.def("depthwise_atrous_conv2d", &depthwise_numpy, py::arg("x"), py::arg("filters"), py::arg("rate"),
             py::arg("padding"),
             "Depthwise dilated convolution: x [B, H, W, C] (float32, float16 or bfloat16), filters [kh, kw, C, m],\n"
             "rate (rows, columns), padding 'same' or 'valid' -> [B, h, w, C * m].");
  module.def("depthwise_atrous_conv2d_input_grad", &gradient_numpy<true>, py::arg("x"), py::arg("filters"),
             py::arg("output_gradient"), py::arg("rate"), py::arg("padding"),
             "The gradient of depthwise_atrous_conv2d with respect to x.");
  module.def("depthwise_atrous_conv2d_filter_grad", &gradient_numpy<false>, py::arg("x"), py::arg("filters"),
             py::arg("output_gradient"), py::arg("rate"), py::arg("padding"),
             "The gradient of depthwise_atrous_conv2d with respect to filters.");
}

}  // namespace kseg
