#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_resize_softmax_cross_entropy {

// Labels and logits agree on the batch; what is known of either goes into both.
absl::Status infer_inputs(InferenceContext* context, ShapeHandle* labels, ShapeHandle* logits) {
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, labels));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, logits));
  DimensionHandle batch;
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(*labels, 0), context->Dim(*logits, 0), &batch));
  TF_RETURN_IF_ERROR(context->ReplaceDim(*labels, 0, batch, labels));
  TF_RETURN_IF_ERROR(context->ReplaceDim(*logits, 0, batch, logits));
  const DimensionHandle channels = context->Dim(*logits, 3);
  ResizeSoftmaxAttributes attributes;
  return to_absl(attributes.read(TfAttributes(context), context->ValueKnown(channels) ? context->Value(channels) : -1));
}

ShapeHandle sums_shape(InferenceContext* context, ShapeHandle logits) {
  const DimensionHandle channels = context->Dim(logits, 3);
  const DimensionHandle classes = context->ValueKnown(channels)
                                      ? context->MakeDim(resize_softmax_classes(context->Value(channels)))
                                      : context->UnknownDim();
  return context->MakeShape({context->Dim(logits, 0), context->MakeDim(kDiceSums), classes});
}

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle labels, logits;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  context->set_output(0, labels);
  if (context->num_inputs() < 3) return absl::OkStatus();
  ShapeHandle weights;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 3, &weights));
  context->set_output(1, sums_shape(context, logits));
  return absl::OkStatus();
}

// The unit gradient, too.
absl::Status infer_training_shape(InferenceContext* context) {
  ShapeHandle labels, logits;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  context->set_output(0, labels);
  context->set_output(1, logits);
  return absl::OkStatus();
}

absl::Status infer_training_gradient_shape(InferenceContext* context) {
  ShapeHandle labels, logits, given;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  TF_RETURN_IF_ERROR(context->Merge(context->input(2), logits, &given));
  TF_RETURN_IF_ERROR(context->Merge(context->input(3), labels, &given));
  context->set_output(0, logits);
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  ShapeHandle labels, logits, given;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  const bool dice = context->num_inputs() > 3;
  TF_RETURN_IF_ERROR(context->Merge(context->input(dice ? 3 : 2), labels, &given));
  if (dice) {
    TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 3, &given));
    TF_RETURN_IF_ERROR(context->Merge(context->input(4), sums_shape(context, logits), &given));
  }
  context->set_output(0, logits);
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES_OF(types)                      \
  Attr("Tlabels: {uint8, int8, uint16, int32, int64}") \
      .Attr("T: " types)                               \
      .Attr("has_ignore_index: bool = true")           \
      .Attr("ignore_index: int = 255")                 \
      .Attr("class_weights: list(float) = []")         \
      .Attr("label_smoothing: float = 0.0")            \
      .Attr("align_corners: bool = false")
#define KSEG_ATTRIBUTES KSEG_ATTRIBUTES_OF("{float, half, bfloat16}")

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropy")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Output("loss: float")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Softmax cross-entropy [B, H, W] of labels [B, H, W] and logits [B, h, w, C] resized bilinearly to their size.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyGrad")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("loss_gradient: float")
    .Output("logits_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of ResizeSoftmaxCrossEntropy with respect to its logits; deterministic.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyTraining")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Output("loss: float")
    .Output("unit_gradient: T")
    .KSEG_ATTRIBUTES_OF("{float} = DT_FLOAT")
    .SetShapeFn(infer_training_shape)
    .Doc(R"doc(
ResizeSoftmaxCrossEntropy, and the gradient of its sum with respect to the logits in the same sweep. A graph that does
not use the second output does not compute it.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyTrainingGrad")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("unit_gradient: T")
    .Input("loss_gradient: float")
    .Output("logits_gradient: T")
    .KSEG_ATTRIBUTES_OF("{float} = DT_FLOAT")
    .SetShapeFn(infer_training_gradient_shape)
    .Doc(R"doc(
The gradient of the loss of ResizeSoftmaxCrossEntropyTraining: the unit gradient times a number where loss_gradient is
the same at all pixels of an image, else as ResizeSoftmaxCrossEntropyGrad.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyAndDice")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("pixel_weights: float")
    .Output("loss: float")
    .Output("sums: float")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
ResizeSoftmaxCrossEntropy, and per image and class the sums of the Dice loss: overlap, predicted and labelled.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyAndDiceGrad")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("pixel_weights: float")
    .Input("loss_gradient: float")
    .Input("sums_gradient: float")
    .Output("logits_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of ResizeSoftmaxCrossEntropyAndDice with respect to its logits; deterministic.
)doc");

#undef KSEG_ATTRIBUTES
#undef KSEG_ATTRIBUTES_OF

KSEG_TF_CPU_KERNEL("Kseg>ResizeSoftmaxCrossEntropy", TfOp<ResizeSoftmaxOp<false>>);
KSEG_TF_CPU_KERNEL("Kseg>ResizeSoftmaxCrossEntropyGrad", TfOp<ResizeSoftmaxGradOp<false>>);
KSEG_TF_CPU_KERNEL("Kseg>ResizeSoftmaxCrossEntropyAndDice", TfOp<ResizeSoftmaxOp<true>>);
KSEG_TF_CPU_KERNEL("Kseg>ResizeSoftmaxCrossEntropyAndDiceGrad", TfOp<ResizeSoftmaxGradOp<true>>);
KSEG_TF_CPU_KERNEL("Kseg>ResizeSoftmaxCrossEntropyTraining", TfOp<ResizeSoftmaxTrainingOp>);
KSEG_TF_CPU_KERNEL("Kseg>ResizeSoftmaxCrossEntropyTrainingGrad", TfOp<ResizeSoftmaxTrainingGradOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<ResizeSoftmaxOp<false>>, Name("Kseg>ResizeSoftmaxCrossEntropy"));
KSEG_TF_GPU_KERNEL(TfGpuOp<ResizeSoftmaxGradOp<false>>, Name("Kseg>ResizeSoftmaxCrossEntropyGrad"));
KSEG_TF_GPU_KERNEL(TfGpuOp<ResizeSoftmaxTrainingOp>, Name("Kseg>ResizeSoftmaxCrossEntropyTraining"));
KSEG_TF_GPU_KERNEL(TfGpuOp<ResizeSoftmaxTrainingGradOp>, Name("Kseg>ResizeSoftmaxCrossEntropyTrainingGrad"));
KSEG_TF_GPU_KERNEL(TfGpuOp<ResizeSoftmaxOp<true>>, Name("Kseg>ResizeSoftmaxCrossEntropyAndDice"));
KSEG_TF_GPU_KERNEL(TfGpuOp<ResizeSoftmaxGradOp<true>>, Name("Kseg>ResizeSoftmaxCrossEntropyAndDiceGrad"));

}  // namespace kseg::tf_resize_softmax_cross_entropy
