#include "ops/aspp/aspp.h"

#include <array>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

// filters, scale, offset, activation, rate; then depthwise filters, scale, offset and activation of a separable one.
using Depthwise = std::tuple<py::array, py::array, py::array, std::string>;
using Convolution =
    std::tuple<py::array, py::array, py::array, std::string, std::array<int64_t, 2>, std::optional<Depthwise>>;

// Views of the arrays, whose dense forms go to `kept`.
template <class T>
AsppConvolution<T> convolution_of(const Convolution& given, const std::string& name, std::vector<py::array>* kept) {
  const auto keep = [&](const py::array& array) -> const py::array& {
    kept->push_back(dense(array));
    return kept->back();
  };
  AsppConvolution<T> convolution;
  convolution.filters = view_of<T, 4>(keep(std::get<0>(given)), (name + ".filters").c_str());
  convolution.scale = view_of<float, 1>(keep(std::get<1>(given)), (name + ".scale").c_str());
  convolution.offset = view_of<float, 1>(keep(std::get<2>(given)), (name + ".offset").c_str());
  raise_if_error(parse_activation(std::get<3>(given), (name + ".activation").c_str(), &convolution.activation));
  convolution.rate = std::get<4>(given);
  const std::optional<Depthwise>& depthwise = std::get<5>(given);
  if (depthwise) {
    convolution.separable = true;
    convolution.depthwise = view_of<T, 4>(keep(std::get<0>(*depthwise)), (name + ".depthwise").c_str());
    convolution.depthwise_scale = view_of<float, 1>(keep(std::get<1>(*depthwise)), (name + ".depthwise_scale").c_str());
    convolution.depthwise_offset =
        view_of<float, 1>(keep(std::get<2>(*depthwise)), (name + ".depthwise_offset").c_str());
    raise_if_error(parse_activation(std::get<3>(*depthwise), (name + ".depthwise_activation").c_str(),
                                    &convolution.depthwise_activation));
  }
  return convolution;
}

py::array aspp_numpy(const py::array& x, const std::vector<Convolution>& branches, const Convolution& projection,
                     const std::optional<Convolution>& pooling) {
  const py::array from = dense(x);
  return visit_dtype<float, Half, BFloat16>(from, "x", [&](auto tag) {
    using T = typename decltype(tag)::type;
    std::vector<py::array> kept;
    AsppArgs<T> args;
    args.x = view_of<T, 4>(from, "x");
    for (size_t i = 0; i < branches.size(); ++i) {
      args.branches.push_back(convolution_of<T>(branches[i], "branches[" + std::to_string(i) + "]", &kept));
    }
    if (pooling) args.pooling.push_back(convolution_of<T>(*pooling, "pooling", &kept));
    args.projection = convolution_of<T>(projection, "projection", &kept);
    raise_if_error(check_aspp(args));
    auto [output, view] = new_array<T, 4>(
        from.dtype(), {args.x.shape[0], args.x.shape[1], args.x.shape[2], args.projection.filters.shape[3]});
    args.output = view;
    run_kernel([&](const ParallelFor& parallel_for) { return aspp(args, parallel_for); });
    return py::array(output);
  });
}

}  // namespace

void bind_aspp(py::module_& module) {
  module.def("aspp", &aspp_numpy, py::arg("x"), py::arg("branches"), py::arg("projection"),
             py::arg("pooling") = std::nullopt,
             "Atrous spatial pyramid pooling of x [B, H, W, C] (float32, float16 or bfloat16) -> [B, H, W, F]. Each\n"
             "convolution is a tuple (filters, scale, offset, activation, rate, depthwise), and depthwise None or\n"
             "(filters, scale, offset, activation).");
}

}  // namespace kseg
