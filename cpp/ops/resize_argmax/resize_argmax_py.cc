#include "ops/resize_argmax/resize_argmax.h"

#include <string>
#include <utility>

#include "adapters/numpy_adapter.h"
#include "base/result_size.h"

namespace kseg {
namespace {

py::array resize_argmax_numpy(const py::array& logits, const std::pair<int64_t, int64_t>& size, bool align_corners) {
  if (size.first < 1 || size.second < 1) {
    throw py::value_error("size must be at least 1 x 1, got " + std::to_string(size.first) + " x " +
                          std::to_string(size.second));
  }
  const py::array array = dense(logits);
  return visit_dtype<float, Half, BFloat16, double>(array, "logits", [&](auto tag) {
    using T = typename decltype(tag)::type;
    ResizeArgmaxArgs<T> args;
    args.logits = view_of<T, 4>(array, "logits");
    args.align_corners = align_corners;
    raise_if_error(check_result_size("size", {args.logits.shape[0], size.first, size.second, sizeof(int32_t)}));
    auto [classes, view] = new_array<int32_t, 3>({args.logits.shape[0], size.first, size.second});
    args.classes = view;
    run_kernel([&](const ParallelFor& parallel_for) { return resize_argmax(args, parallel_for); });
    return classes;
  });
}

}  // namespace

void bind_resize_argmax(py::module_& module) {
  module.def("resize_argmax", &resize_argmax_numpy, py::arg("logits"), py::arg("size"),
             py::arg("align_corners") = false,
             "The argmax over classes of logits [B, h, w, C] resized bilinearly to size (H, W): int32 [B, H, W].\n\n"
             "align_corners: False for half-pixel centres, True for corner pixels that keep their centres. Of equal "
             "values the\n"
             "lowest class wins; NaN counts as -infinity.");
}

}  // namespace kseg
