#include "ops/batched_nms/batched_nms.h"
#include "ops/batched_nms/batched_nms_check.h"

#include <string>

#include "adapters/numpy_adapter.h"

namespace kseg {
namespace {

py::tuple batched_nms_numpy(const py::array& boxes, const py::array& scores, const py::array& class_ids,
                            double iou_threshold, double score_threshold, int64_t max_output_size,
                            int64_t max_per_class, bool class_agnostic, double sigma, const std::string& method) {
  const py::array dense_boxes = dense(boxes);
  const py::array dense_scores = dense(scores);
  const py::array dense_ids = dense(class_ids);
  BatchedNmsArgs args;
  args.options.iou_threshold = static_cast<float>(iou_threshold);
  args.options.score_threshold = static_cast<float>(score_threshold);
  args.options.max_output_size = max_output_size;
  args.options.max_per_class = max_per_class;
  args.options.class_agnostic = class_agnostic;
  args.options.sigma = static_cast<float>(sigma);
  raise_if_error(parse_nms_method(method, &args.options.method));
  if (dense_boxes.ndim() == 3) {
    const auto view = view_of<float, 3>(dense_boxes, "boxes");
    args.boxes = {view.data, {view.shape[0], view.shape[1], 1, view.shape[2]}};
  } else {
    args.boxes = view_of<float, 4>(dense_boxes, "boxes");
  }
  if (dense_scores.ndim() == 2) {
    const auto view = view_of<float, 2>(dense_scores, "scores");
    args.scores = {view.data, {view.shape[0], view.shape[1], 1}};
  } else {
    args.scores = view_of<float, 3>(dense_scores, "scores");
  }
  args.class_ids = view_of<int32_t, 2>(dense_ids, "class_ids");
  raise_if_error(check_batched_nms(args));
  const int64_t images = args.scores.shape[0];
  auto [out_boxes, boxes_view] = new_array<float, 3>({images, max_output_size, 4});
  auto [out_scores, scores_view] = new_array<float, 2>({images, max_output_size});
  auto [out_classes, classes_view] = new_array<int32_t, 2>({images, max_output_size});
  auto [out_indices, indices_view] = new_array<int32_t, 2>({images, max_output_size});
  auto [out_count, count_view] = new_array<int32_t, 1>({images});
  args.out_boxes = boxes_view.data;
  args.out_scores = scores_view.data;
  args.out_classes = classes_view.data;
  args.out_indices = indices_view.data;
  args.num_valid = count_view.data;
  run_kernel([&](const ParallelFor& parallel_for) { return batched_nms(args, parallel_for); });
  return py::make_tuple(out_boxes, out_scores, out_classes, out_indices, out_count);
}

}  // namespace

void bind_batched_nms(py::module_& module) {
  module.def(
      "batched_nms", &batched_nms_numpy, py::arg("boxes"), py::arg("scores"), py::arg("class_ids"),
      py::arg("iou_threshold"), py::arg("score_threshold"), py::arg("max_output_size"), py::arg("max_per_class") = -1,
      py::arg("class_agnostic") = false, py::arg("sigma") = 0.5, py::arg("method") = "hard",
      "The best boxes of each image after suppression, as (boxes, scores, classes, indices, num_valid): boxes\n"
      "float32 [B, N, 4] or [B, N, C, 4], scores float32 [B, N] or [B, N, C], class_ids int32 [B, N], or [0, 0]\n"
      "for none.");
}

}  // namespace kseg
