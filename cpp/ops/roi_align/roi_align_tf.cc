#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/roi_align/roi_align_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_roi_align {

// Merges what boxes and box_indices tell about the number of boxes.
absl::Status infer_boxes(InferenceContext* context, DimensionHandle* boxes) {
  ShapeHandle corners, indices;
  DimensionHandle four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 2, &corners));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &indices));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(corners, 1), 4, &four));
  return context->Merge(context->Dim(corners, 0), context->Dim(indices, 0), boxes);
}

absl::Status infer_shape(InferenceContext* context) {
  RoiAlignAttributes attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  ShapeHandle features;
  DimensionHandle boxes;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &features));
  TF_RETURN_IF_ERROR(infer_boxes(context, &boxes));
  context->set_output(0, context->MakeShape({boxes, context->MakeDim(attributes.output_size[0]),
                                             context->MakeDim(attributes.output_size[1]), context->Dim(features, 3)}));
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  RoiAlignAttributes attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  ShapeHandle gradient, expected, features;
  DimensionHandle boxes, channels;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &gradient));
  TF_RETURN_IF_ERROR(infer_boxes(context, &boxes));
  expected = context->MakeShape({boxes, context->MakeDim(attributes.output_size[0]),
                                 context->MakeDim(attributes.output_size[1]), context->UnknownDim()});
  TF_RETURN_IF_ERROR(context->Merge(gradient, expected, &gradient));
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(3, &features));
  TF_RETURN_IF_ERROR(context->WithRank(features, 4, &features));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(features, 3), context->Dim(gradient, 3), &channels));
  TF_RETURN_IF_ERROR(context->ReplaceDim(features, 3, channels, &features));
  context->set_output(0, features);
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES                      \
  Attr("T: {float, half, bfloat16, double}") \
      .Attr("output_size: list(int)")        \
      .Attr("spatial_scale: float = 1.0")    \
      .Attr("sampling_ratio: int = 2")       \
      .Attr("aligned: bool = true")

REGISTER_OP("Kseg>RoiAlign")
    .Input("features: T")
    .Input("boxes: float")
    .Input("box_indices: int32")
    .Output("output: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Resamples boxes (x1 y1 x2 y2) of a feature map [B, H, W, C] to grids: [K, output_size[0], output_size[1], C].
)doc");

REGISTER_OP("Kseg>RoiAlignGrad")
    .Input("output_gradient: T")
    .Input("boxes: float")
    .Input("box_indices: int32")
    .Input("features_shape: Tshape")
    .Output("features_gradient: T")
    .Attr("Tshape: {int32, int64} = DT_INT32")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of RoiAlign with respect to its features; deterministic.
)doc");

#undef KSEG_ATTRIBUTES

KSEG_TF_CPU_KERNEL("Kseg>RoiAlign", TfOp<RoiAlignOp>);
KSEG_TF_CPU_KERNEL("Kseg>RoiAlignGrad", TfOp<RoiAlignGradOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<RoiAlignOp>, Name("Kseg>RoiAlign").TypeConstraint("T", kGpuFloats));
KSEG_TF_GPU_KERNEL(TfGpuOp<RoiAlignGradOp>,
                   Name("Kseg>RoiAlignGrad").HostMemory("features_shape").TypeConstraint("T", kGpuFloats));

}  // namespace kseg::tf_roi_align
