#include "ops/max_pool_with_indices/max_pool_with_indices.h"

#include <string>
#include <utility>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

using Pair = std::pair<int64_t, int64_t>;

PoolWindows windows_of(const Pair& pool, const Pair& strides, const std::string& padding) {
  if (padding != "valid" && padding != "same") {
    throw py::value_error("padding must be 'valid' or 'same', got '" + padding + "'");
  }
  raise_if_error(check_pool(pool.first, pool.second, strides.first, strides.second));
  return {{pool.first, strides.first, padding == "same"}, {pool.second, strides.second, padding == "same"}};
}

py::tuple max_pool_with_indices_numpy(const py::array& x, const Pair& pool_size, const Pair& strides,
                                      const std::string& padding) {
  const PoolWindows windows = windows_of(pool_size, strides, padding);
  const py::array from = dense(x);
  return visit_dtype<float, Half, BFloat16, double>(from, "x", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto images = view_of<T, 4>(from, "x");
    raise_if_error(check_pool_image(images.shape, "x"));
    const Shape<4> shape = {images.shape[0], windows.rows.outputs(images.shape[1]),
                            windows.columns.outputs(images.shape[2]), images.shape[3]};
    auto [pooled, pooled_view] = new_array<T, 4>(from.dtype(), shape);
    auto [indices, indices_view] = new_array<int32_t, 4>(shape);
    const View<T, 4> values = pooled_view;
    const View<int32_t, 4> places = indices_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return max_pool_with_indices<T>(images, windows, values, places, parallel_for);
    });
    return py::make_tuple(pooled, indices);
  });
}

py::array max_pool_with_indices_grad_numpy(const py::array& y_gradient, const py::array& indices,
                                           const Shape<4>& x_shape, const Pair& pool_size, const Pair& strides,
                                           const std::string& padding) {
  const PoolWindows windows = windows_of(pool_size, strides, padding);
  const py::array from = dense(y_gradient), where = dense(indices);
  for (const int64_t extent : x_shape) {
    if (extent < 0) throw py::value_error("x_shape must not be negative, got " + to_string<4>(x_shape));
  }
  raise_if_error(check_pool_image(x_shape, "x_shape"));
  return visit_dtype<float, Half, BFloat16, double>(from, "y_gradient", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto gradient = view_of<T, 4>(from, "y_gradient");
    const auto places = view_of<int32_t, 4>(where, "indices");
    const Shape<4> pooled = {x_shape[0], windows.rows.outputs(x_shape[1]), windows.columns.outputs(x_shape[2]),
                             x_shape[3]};
    if (gradient.shape != pooled || places.shape != pooled) {  // before memory is taken for the result
      throw py::value_error("y_gradient and indices must have shape " + to_string<4>(pooled) + " for x_shape " +
                            to_string<4>(x_shape) + ", got " + to_string<4>(gradient.shape) + " and " +
                            to_string<4>(places.shape));
    }
    auto [result, result_view] = new_array<T, 4>(from.dtype(), x_shape);
    const View<T, 4> to = result_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return max_pool_with_indices_grad<T>(gradient, places, windows, to, parallel_for);
    });
    return py::array(result);
  });
}

}  // namespace

void bind_max_pool_with_indices(py::module_& module) {
  module.def(
      "max_pool_with_indices", &max_pool_with_indices_numpy, py::arg("x"), py::arg("pool_size"), py::arg("strides"),
      py::arg("padding") = "valid",
      "Max pooling of x [B, H, W, C] (float32, float16, bfloat16 or float64) -> (y [B, h, w, C], indices int32 of\n"
      "that shape: the place row * W + column of each maximum).");
  module.def("max_pool_with_indices_grad", &max_pool_with_indices_grad_numpy, py::arg("y_gradient"), py::arg("indices"),
             py::arg("x_shape"), py::arg("pool_size"), py::arg("strides"), py::arg("padding") = "valid",
             "The gradient of max_pool_with_indices with respect to x.");
}

}  // namespace kseg
