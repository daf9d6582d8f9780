#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/confusion_matrix/confusion_matrix_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_confusion_matrix {

absl::Status infer_shape(InferenceContext* context) {
  int64_t classes;
  TF_RETURN_IF_ERROR(context->GetAttr("num_classes", &classes));
  TF_RETURN_IF_ERROR(to_absl(check_confusion_classes(classes)));
  tensorflow::DataType type;
  TF_RETURN_IF_ERROR(context->GetAttr("T", &type));
  ShapeHandle merged;
  if (!tensorflow::DataTypeIsFloating(type)) {
    TF_RETURN_IF_ERROR(context->Merge(context->input(0), context->input(1), &merged));
  } else {
    ShapeHandle logits;
    TF_RETURN_IF_ERROR(context->WithRankAtLeast(context->input(1), 1, &logits));
    if (context->RankKnown(logits)) {
      const DimensionHandle channels = context->Dim(logits, -1);
      const bool sigmoid = classes == 2 && context->ValueKnown(channels) && context->Value(channels) == 1;
      DimensionHandle fits;
      // With two classes an unknown extent may turn out to be 1 as well.
      if (!sigmoid && context->ValueKnown(channels)) {
        TF_RETURN_IF_ERROR(context->WithValue(channels, classes, &fits));
      }
      ShapeHandle pixels;
      TF_RETURN_IF_ERROR(context->Subshape(logits, 0, -1, &pixels));
      TF_RETURN_IF_ERROR(context->Merge(context->input(0), pixels, &merged));
    }
  }
  context->set_output(0, context->Matrix(classes, classes));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>ConfusionMatrix")
    .Input("labels: Tlabels")
    .Input("predictions: T")
    .Output("counts: int64")
    .Attr("Tlabels: {uint8, int8, uint16, int32, int64}")
    .Attr("T: {float, half, bfloat16, double, uint8, int8, uint16, int32, int64}")
    .Attr("num_classes: int >= 1")
    .Attr("ignore_index: int = 255")
    .Attr("has_ignore_index: bool = true")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Counts pairs of true and predicted class; the prediction is the argmax of logits or a class already.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>ConfusionMatrix", TfOp<ConfusionMatrixOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<ConfusionMatrixOp>, Name("Kseg>ConfusionMatrix").TypeConstraint("T", kGpuPredictions));

}  // namespace kseg::tf_confusion_matrix
