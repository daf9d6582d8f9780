#include "ops/mask_iou/mask_iou.h"
#include "ops/mask_iou/mask_iou_check.h"

#include <optional>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

MaskStack stack_of(const py::array& masks, const char* argument, int64_t width) {
  const auto view = view_of<uint8_t, 3>(masks, argument);
  MaskStack stack;
  raise_if_error(make_mask_stack(argument, view.data, view.shape, width, &stack));
  return stack;
}

// Keeps the boxes alive that it gives to `stack`.
std::optional<py::array> set_boxes(const std::optional<py::array>& boxes, const char* argument, MaskStack* stack) {
  if (!boxes) return std::nullopt;
  py::array kept = dense(*boxes);
  raise_if_error(set_mask_boxes(argument, view_of<float, 2>(kept, argument), stack));
  return kept;
}

py::array mask_iou_numpy(const py::array& a, const py::array& b, const py::array& is_crowd, int64_t width,
                         const std::optional<py::array>& boxes_a, const std::optional<py::array>& boxes_b) {
  const py::array dense_a = dense(a), dense_b = dense(b), dense_crowd = dense(is_crowd);
  MaskStack first = stack_of(dense_a, "a", width), second = stack_of(dense_b, "b", width);
  const auto kept_a = set_boxes(boxes_a, "boxes_a", &first), kept_b = set_boxes(boxes_b, "boxes_b", &second);
  const auto crowd = view_of<uint8_t, 1>(dense_crowd, "is_crowd");
  raise_if_error(check_mask_iou(first, second, crowd.shape[0]));
  auto [iou, iou_view] = new_array<float, 2>({first.count, second.count});
  const View<float, 2> to = iou_view;
  run_kernel([&](const ParallelFor& parallel_for) { return mask_iou(first, second, crowd, to, parallel_for); });
  return iou;
}

}  // namespace

void bind_mask_iou(py::module_& module) {
  module.def("mask_iou", &mask_iou_numpy, py::arg("a"), py::arg("b"), py::arg("is_crowd"),
             py::arg("width") = kDenseMasks, py::arg("boxes_a") = py::none(), py::arg("boxes_b") = py::none(),
             "Intersection over union of masks: a uint8 [N, H, W], b uint8 [M, H, W] (packed to bits if width is not\n"
             "-1), is_crowd uint8 [M] -> float32 [N, M]. Boxes float32 [N, 4] and [M, 4], or [0, 4] or None for none:\n"
             "pixels that a mask's box does not touch are not set.");
}

}  // namespace kseg
