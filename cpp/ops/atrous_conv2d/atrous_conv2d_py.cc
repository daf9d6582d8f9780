#include "ops/atrous_conv2d/atrous_conv2d.h"

#include <array>
#include <string>
#include <utility>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

py::array atrous_conv2d_numpy(const py::array& x, const py::array& filters, const py::array& scale,
                              const py::array& offset, std::pair<int64_t, int64_t> rate, const std::string& activation,
                              const std::string& padding) {
  const py::array from = dense(x), weights = dense(filters), scales = dense(scale), offsets = dense(offset);
  return visit_dtype<float, Half, BFloat16>(from, "x", [&](auto tag) {
    using T = typename decltype(tag)::type;
    AtrousConv2dArgs<T> args;
    args.x = view_of<T, 4>(from, "x");
    args.filters = view_of<T, 4>(weights, "filters");
    args.scale = view_of<float, 1>(scales, "scale");
    args.offset = view_of<float, 1>(offsets, "offset");
    raise_if_error(parse_activation(activation, "activation", &args.activation));
    raise_if_error(parse_conv_options({rate.first, rate.second}, padding, &args.options));
    Shape<4> shape;
    raise_if_error(atrous_conv2d_shape(args.x.shape, args.filters.shape, args.options, &shape));
    for (const auto& [name, size] :
         {std::pair("scale", args.scale.shape[0]), std::pair("offset", args.offset.shape[0])}) {
      if (size != shape[3] && size != 0) {
        throw py::value_error(std::string(name) + " must have one entry per output channel, " +
                              std::to_string(shape[3]) + ", or none, got " + std::to_string(size));
      }
    }
    auto [output, view] = new_array<T, 4>(from.dtype(), shape);
    args.output = view;
    run_kernel([&](const ParallelFor& parallel_for) { return atrous_conv2d(args, parallel_for); });
    return py::array(output);
  });
}

}  // namespace

void bind_atrous_conv2d(py::module_& module) {
  module.def(
      "atrous_conv2d", &atrous_conv2d_numpy, py::arg("x"), py::arg("filters"), py::arg("scale"), py::arg("offset"),
      py::arg("rate"), py::arg("activation") = "linear", py::arg("padding") = "same",
      "activation(convolution * scale + offset): x [B, H, W, C] and filters [kh, kw, C, F] (float32, float16 or\n"
      "bfloat16), scale and offset float32 [F], rate (rows, columns) -> [B, H', W', F].");
}

}  // namespace kseg
