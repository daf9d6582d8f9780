#include "ops/max_unpool2d/max_unpool2d.h"

#include <utility>

#include "adapters/numpy_adapter.h"

namespace kseg {
namespace {

// Calls visit(a number of the element's size) for the dtypes that the op takes.
template <class Visitor>
py::array visit_bits(const py::array& array, const char* argument, Visitor&& visit) {
  return visit_dtype<float, Half, BFloat16, double>(array, argument, [&](auto tag) {
    using T = typename decltype(tag)::type;
    (void)view_of<T, 4>(array, argument);  // rank and byte order
    if constexpr (sizeof(T) == 2) {
      return visit(uint16_t(0));
    } else if constexpr (sizeof(T) == 4) {
      return visit(uint32_t(0));
    } else {
      return visit(uint64_t(0));
    }
  });
}

template <class Bits>
View<const Bits, 4> bits_of(const py::array& array) {
  return {static_cast<const Bits*>(array.data()), {array.shape(0), array.shape(1), array.shape(2), array.shape(3)}};
}

py::array max_unpool2d_numpy(const py::array& y, const py::array& indices,
                             const std::pair<int64_t, int64_t>& output_size) {
  const py::array from = dense(y), where = dense(indices);
  return visit_bits(from, "y", [&](auto zero) {
    using Bits = decltype(zero);
    const View<const Bits, 4> values = bits_of<Bits>(from);
    const auto places = view_of<int32_t, 4>(where, "indices");
    if (places.shape != values.shape) {
      throw py::value_error("indices must have the shape of y, " + to_string<4>(values.shape) + ", got " +
                            to_string<4>(places.shape));
    }
    raise_if_error(check_max_unpool2d(output_size.first, output_size.second, values.shape[0], values.shape[3]));
    auto [output, output_view] =
        new_array<Bits, 4>(from.dtype(), {values.shape[0], output_size.first, output_size.second, values.shape[3]});
    const View<Bits, 4> to = output_view;
    run_kernel([&](const ParallelFor& parallel_for) { return max_unpool2d<Bits>(values, places, to, parallel_for); });
    return output;
  });
}

py::array max_unpool2d_grad_numpy(const py::array& x_gradient, const py::array& indices) {
  const py::array from = dense(x_gradient), where = dense(indices);
  return visit_bits(from, "x_gradient", [&](auto zero) {
    using Bits = decltype(zero);
    const View<const Bits, 4> gradient = bits_of<Bits>(from);
    const auto places = view_of<int32_t, 4>(where, "indices");
    auto [result, result_view] = new_array<Bits, 4>(from.dtype(), places.shape);
    const View<Bits, 4> to = result_view;
    run_kernel(
        [&](const ParallelFor& parallel_for) { return max_unpool2d_grad<Bits>(gradient, places, to, parallel_for); });
    return result;
  });
}

}  // namespace

void bind_max_unpool2d(py::module_& module) {
  module.def("max_unpool2d", &max_unpool2d_numpy, py::arg("y"), py::arg("indices"), py::arg("output_size"),
             "Max unpooling: y [B, h, w, C] (float32, float16, bfloat16 or float64) to the places that indices int32\n"
             "[B, h, w, C] name in images of output_size (H, W) -> [B, H, W, C], 0 elsewhere.");
  module.def("max_unpool2d_grad", &max_unpool2d_grad_numpy, py::arg("x_gradient"), py::arg("indices"),
             "The gradient of max_unpool2d with respect to y: x_gradient [B, H, W, C] -> [B, h, w, C].");
}

}  // namespace kseg
