// What ConfusionMatrix checks and runs, whichever framework calls.
#ifndef KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CALL_H_
#define KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CALL_H_

#include "base/op_call.h"
#include "ops/confusion_matrix/confusion_matrix.h"
#include "ops/confusion_matrix/confusion_matrix_cuda.h"

namespace kseg {

class ConfusionMatrixOp {
 public:
  Status read(const OpAttributes& attributes) {
    KSEG_RETURN_IF_ERROR(attributes.get("num_classes", &num_classes_));
    KSEG_RETURN_IF_ERROR(attributes.get("ignore_index", &ignore_index_));
    KSEG_RETURN_IF_ERROR(attributes.get("has_ignore_index", &has_ignore_index_));
    return check_confusion_classes(num_classes_);
  }

  Status run(OpCall& call) const {
    const Array labels = call.input(0), predictions = call.input(1);
    ConfusionMatrixArgs args;
    KSEG_RETURN_IF_ERROR(input_of(labels, "labels", &args.labels));
    KSEG_RETURN_IF_ERROR(input_of(predictions, "predictions", &args.predictions));
    std::vector<int64_t> pixels = predictions.shape;
    if (args.predictions.floating()) {
      if (pixels.empty()) return invalid_argument("logits must have a last axis of classes, got a scalar");
      args.channels = pixels.back();
      pixels.pop_back();
    }
    if (pixels != labels.shape) {
      return invalid_argument(args.predictions.floating() ? "logits without their last axis" : "integer predictions",
                              " must have the shape of labels, ", labels.shape_text(), ", got ",
                              predictions.shape_text());
    }
    KSEG_RETURN_IF_ERROR(call.output(0, {num_classes_, num_classes_}, &args.counts));
    args.pixels = labels.size();
    args.has_ignore_index = has_ignore_index_;
    args.ignore_index = ignore_index_;
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return confusion_matrix(args, parallel_for); },
        [&](const auto& cuda) { return confusion_matrix_cuda(args, cuda); });
  }

 private:
  static Status input_of(const Array& array, const char* name, ConfusionInput* input) {
    return visit_type<uint8_t, int8_t, uint16_t, int32_t, int64_t, Half, BFloat16, float, double>(
        array.type, name, [&](auto tag) {
          *input = ConfusionInput::of(static_cast<const typename decltype(tag)::type*>(array.data));
          return Status();
        });
  }

  int64_t num_classes_ = 0;
  int64_t ignore_index_ = 0;
  bool has_ignore_index_ = false;
};

}  // namespace kseg

#endif  // KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CALL_H_
