#include "ops/coco_eval/coco_eval.h"

#include "adapters/numpy_adapter.h"

namespace kseg {
namespace {

py::array box_iou(const py::array& detections, const py::array& truths, const py::array& detection_splits,
                  const py::array& truth_splits, const py::array& is_crowd) {
  const py::array kept[] = {dense(detections), dense(truths), dense(detection_splits), dense(truth_splits),
                            dense(is_crowd)};
  const auto of_detections = view_of<double, 2>(kept[0], "detections");
  const auto of_truths = view_of<double, 2>(kept[1], "truths");
  const CocoGroups groups{view_of<int64_t, 1>(kept[2], "detection_splits"),
                          view_of<int64_t, 1>(kept[3], "truth_splits")};
  const auto crowd = view_of<uint8_t, 1>(kept[4], "is_crowd");
  int64_t pairs = 0;
  raise_if_error(check_coco_groups(groups, of_detections.shape[0], of_truths.shape[0], &pairs));
  auto [array, view] = new_array<double, 1>({pairs});
  const View<double, 1> to = view;
  run_kernel([&](const ParallelFor& parallel_for) {
    return coco_eval_box_iou(of_detections, of_truths, groups, crowd, to, parallel_for);
  });
  return array;
}

py::tuple match(const py::array& ious, const py::array& detection_splits, const py::array& truth_splits,
                const py::array& detection_areas, const py::array& truth_areas, const py::array& is_crowd,
                const py::array& area_ranges, const py::array& thresholds) {
  const py::array kept[] = {dense(ious),        dense(detection_splits), dense(truth_splits), dense(detection_areas),
                            dense(truth_areas), dense(is_crowd),         dense(area_ranges),  dense(thresholds)};
  CocoMatchInput input;
  input.ious = view_of<double, 1>(kept[0], "ious");
  input.groups.detection_splits = view_of<int64_t, 1>(kept[1], "detection_splits");
  input.groups.truth_splits = view_of<int64_t, 1>(kept[2], "truth_splits");
  input.detection_areas = view_of<double, 1>(kept[3], "detection_areas");
  input.truth_areas = view_of<double, 1>(kept[4], "truth_areas");
  input.is_crowd = view_of<uint8_t, 1>(kept[5], "is_crowd");
  input.area_ranges = view_of<double, 2>(kept[6], "area_ranges");
  input.thresholds = view_of<double, 1>(kept[7], "thresholds");
  raise_if_error(check_coco_match(input));
  const Shape<3> shape{input.area_ranges.shape[0], input.thresholds.shape[0], input.detection_areas.shape[0]};
  auto [matches, matches_view] = new_array<int32_t, 3>(shape);
  auto [ignored, ignored_view] = new_array<uint8_t, 3>(shape);
  const View<int32_t, 3> to_matches = matches_view;
  const View<uint8_t, 3> to_ignored = ignored_view;
  run_kernel(
      [&](const ParallelFor& parallel_for) { return coco_eval_match(input, to_matches, to_ignored, parallel_for); });
  return py::make_tuple(matches, ignored);
}

py::tuple accumulate(const py::array& scores, const py::array& ranks, const py::array& class_splits,
                     const py::array& matches, const py::array& ignored, const py::array& positives,
                     const py::array& most_detections, const py::array& recalls) {
  const py::array kept[] = {dense(scores),  dense(ranks),     dense(class_splits),    dense(matches),
                            dense(ignored), dense(positives), dense(most_detections), dense(recalls)};
  CocoAccumulateInput input;
  input.scores = view_of<double, 1>(kept[0], "scores");
  input.ranks = view_of<int64_t, 1>(kept[1], "ranks");
  input.class_splits = view_of<int64_t, 1>(kept[2], "class_splits");
  input.matches = view_of<int32_t, 3>(kept[3], "matches");
  input.ignored = view_of<uint8_t, 3>(kept[4], "ignored");
  input.positives = view_of<int64_t, 2>(kept[5], "positives");
  input.most_detections = view_of<int64_t, 1>(kept[6], "most_detections");
  input.recalls = view_of<double, 1>(kept[7], "recalls");
  raise_if_error(check_coco_accumulate(input));
  const auto [classes, areas] = input.positives.shape;
  const int64_t thresholds = input.matches.shape[1], limits = input.most_detections.shape[0];
  const Shape<5> curve_shape{thresholds, input.recalls.shape[0], classes, areas, limits};
  auto [precision, precision_view] = new_array<double, 5>(curve_shape);
  auto [recall, recall_view] = new_array<double, 4>({thresholds, classes, areas, limits});
  auto [at_score, at_score_view] = new_array<double, 5>(curve_shape);
  const View<double, 5> to_precision = precision_view, to_score = at_score_view;
  const View<double, 4> to_recall = recall_view;
  run_kernel([&](const ParallelFor& parallel_for) {
    return coco_eval_accumulate(input, to_precision, to_recall, to_score, parallel_for);
  });
  return py::make_tuple(precision, recall, at_score);
}

}  // namespace

void bind_coco_eval(py::module_& module) {
  module.def("coco_eval_box_iou", &box_iou, py::arg("detections"), py::arg("truths"), py::arg("detection_splits"),
             py::arg("truth_splits"), py::arg("is_crowd"),
             "Boxes float64 [N, 4], x y width height, in groups -> the IoU of the pairs of each, float64.");
  module.def("coco_eval_match", &match, py::arg("ious"), py::arg("detection_splits"), py::arg("truth_splits"),
             py::arg("detection_areas"), py::arg("truth_areas"), py::arg("is_crowd"), py::arg("area_ranges"),
             py::arg("thresholds"), "-> matches int32 [A, T, D], ignored uint8 [A, T, D].");
  module.def("coco_eval_accumulate", &accumulate, py::arg("scores"), py::arg("ranks"), py::arg("class_splits"),
             py::arg("matches"), py::arg("ignored"), py::arg("positives"), py::arg("most_detections"),
             py::arg("recalls"), "-> precision float64 [T, R, K, A, M], recall [T, K, A, M], scores [T, R, K, A, M].");
}

}  // namespace kseg
