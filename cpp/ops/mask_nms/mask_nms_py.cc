#include "ops/mask_nms/mask_nms.h"
#include "ops/mask_nms/mask_nms_check.h"

#include <optional>
#include <string>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

py::tuple mask_nms_numpy(const py::array& masks, const py::array& scores, const py::array& class_ids,
                         int64_t max_output_size, const std::string& kind, double iou_threshold,
                         std::optional<double> score_threshold, double sigma, int64_t width,
                         const std::optional<py::array>& boxes) {
  const py::array dense_masks = dense(masks), dense_scores = dense(scores), dense_classes = dense(class_ids);
  MaskNmsOptions options;
  raise_if_error(make_mask_nms_options(kind, iou_threshold, score_threshold.value_or(0), score_threshold.has_value(),
                                       sigma, max_output_size, width, &options));
  MaskNmsInput input{view_of<uint8_t, 4>(dense_masks, "masks"), view_of<float, 2>(dense_scores, "scores"),
                     view_of<int32_t, 2>(dense_classes, "class_ids")};
  const py::array dense_boxes = boxes ? dense(*boxes) : py::array_t<float>({0, 0, 4});
  input.boxes = view_of<float, 3>(dense_boxes, "boxes");
  if (options.max_output_size < 0) options.max_output_size = input.masks.shape[1];
  raise_if_error(check_mask_nms(input, options));
  const int64_t batch = input.masks.shape[0];
  auto [indices, indices_view] = new_array<int32_t, 2>({batch, options.max_output_size});
  auto [kept_scores, scores_view] = new_array<float, 2>({batch, options.max_output_size});
  auto [num_valid, valid_view] = new_array<int32_t, 1>({batch});
  const MaskNmsOutput output{indices_view, scores_view, valid_view};
  run_kernel([&](const ParallelFor& parallel_for) { return mask_nms(input, options, output, parallel_for); });
  return py::make_tuple(indices, kept_scores, num_valid);
}

}  // namespace

void bind_mask_nms(py::module_& module) {
  module.def(
      "mask_nms", &mask_nms_numpy, py::arg("masks"), py::arg("scores"), py::arg("class_ids"),
      py::arg("max_output_size"), py::arg("kind") = "hard", py::arg("iou_threshold") = 0.5,
      py::arg("score_threshold") = py::none(), py::arg("sigma") = 0.5, py::arg("width") = -1,
      py::arg("boxes") = py::none(),
      "NMS of masks uint8 [B, N, H, W] (packed to bits if width is not -1) with scores float32 [B, N] and\n"
      "class_ids int32 [B, N] (-1: padding) -> indices int32 [B, K], scores float32 [B, K], num_valid int32\n"
      "[B], with K = max_output_size (-1: N) and -1 and 0 as padding. Boxes float32 [B, N, 4], or [0, 0, 4] or None\n"
      "for none: pixels that a mask's box does not touch are not set.");
}

}  // namespace kseg
