#include "ops/nms/nms.h"
#include "ops/nms/nms_check.h"

#include <cstring>
#include <vector>

#include "adapters/numpy_adapter.h"

namespace kseg {
namespace {

py::array nms_numpy(const py::array& boxes, const py::array& scores, const py::array& class_ids, double iou_threshold,
                    double score_threshold, int64_t max_output_size) {
  const py::array dense_boxes = dense(boxes);
  const py::array dense_scores = dense(scores);
  const py::array dense_ids = dense(class_ids);
  NmsArgs args;
  args.boxes = view_of<float, 2>(dense_boxes, "boxes");
  args.scores = view_of<float, 1>(dense_scores, "scores");
  args.class_ids = view_of<int32_t, 1>(dense_ids, "class_ids");
  args.iou_threshold = static_cast<float>(iou_threshold);
  args.score_threshold = static_cast<float>(score_threshold);
  args.max_output_size = max_output_size;
  raise_if_error(check_nms(args));
  std::vector<int32_t> kept(args.boxes.shape[0]);
  int64_t count = 0;
  run_kernel([&](const ParallelFor& parallel_for) { return nms(args, kept.data(), &count, parallel_for); });
  auto [output, view] = new_array<int32_t, 1>({count});
  if (count > 0) std::memcpy(view.data, kept.data(), count * sizeof(int32_t));
  return std::move(output);
}

}  // namespace

void bind_nms(py::module_& module) {
  module.def(
      "nms", &nms_numpy, py::arg("boxes"), py::arg("scores"), py::arg("class_ids"), py::arg("iou_threshold"),
      py::arg("score_threshold"), py::arg("max_output_size") = -1,
      "Indices (int32) of the boxes (float32 [N, 4], x1 y1 x2 y2) that no better one of their class suppresses,\n"
      "best first; scores float32 [N], class_ids int32 [N], or [0] where all are of one class.");
}

}  // namespace kseg
