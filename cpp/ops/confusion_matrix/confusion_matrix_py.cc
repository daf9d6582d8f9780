#include "ops/confusion_matrix/confusion_matrix.h"

#include <optional>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

std::vector<int64_t> shape_of(const py::array& array) {
  return std::vector<int64_t>(array.shape(), array.shape() + array.ndim());
}

py::array confusion_matrix_numpy(const py::array& labels, const py::array& predictions, int64_t num_classes,
                                 std::optional<int64_t> ignore_index) {
  raise_if_error(check_confusion_classes(num_classes));
  const py::array dense_labels = dense(labels);
  const py::array dense_predictions = dense(predictions);
  ConfusionMatrixArgs args;
  args.labels = visit_dtype<uint8_t, int8_t, uint16_t, int32_t, int64_t>(dense_labels, "labels", [&](auto tag) {
    return ConfusionInput::of(static_cast<const typename decltype(tag)::type*>(dense_labels.data()));
  });
  args.predictions = visit_dtype<float, Half, BFloat16, double, uint8_t, int8_t, uint16_t, int32_t, int64_t>(
      dense_predictions, "logits_or_labels", [&](auto tag) {
        return ConfusionInput::of(static_cast<const typename decltype(tag)::type*>(dense_predictions.data()));
      });
  std::vector<int64_t> pixels = shape_of(dense_predictions);
  if (args.predictions.floating()) {
    if (pixels.empty()) throw py::value_error("logits must have a last axis of classes, got a scalar");
    args.channels = pixels.back();
    pixels.pop_back();
  }
  if (pixels != shape_of(dense_labels)) {
    throw py::value_error(args.predictions.floating() ? "logits without their last axis must have the shape of labels"
                                                      : "integer predictions must have the shape of labels");
  }
  args.pixels = dense_labels.size();
  args.has_ignore_index = ignore_index.has_value();
  args.ignore_index = ignore_index.value_or(0);
  auto [counts, view] = new_array<int64_t, 2>({num_classes, num_classes});
  args.counts = view;
  run_kernel([&](const ParallelFor& parallel_for) { return confusion_matrix(args, parallel_for); });
  return counts;
}

}  // namespace

void bind_confusion_matrix(py::module_& module) {
  module.def(
      "confusion_matrix", &confusion_matrix_numpy, py::arg("labels"), py::arg("logits_or_labels"),
      py::arg("num_classes"), py::arg("ignore_index") = 255,
      "Counts pairs of truth (rows) and prediction (columns): int64 [num_classes, num_classes].\n\n"
      "labels: integer array of any shape S; the prediction: floating logits S + [num_classes] (or S + [1] for two\n"
      "classes), or integer classes of shape S. Pixels labelled ignore_index (None: no such label) are not counted.\n"
      "ValueError names a label or a counted predicted class that is out of range.");
}

}  // namespace kseg
