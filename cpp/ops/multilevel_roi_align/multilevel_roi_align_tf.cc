#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/multilevel_roi_align/multilevel_roi_align_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_multilevel_roi_align {

absl::Status infer_shape(InferenceContext* context) {
  MultilevelRoiAlignAttributes attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  ShapeHandle boxes;
  DimensionHandle four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(attributes.levels), 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 2), 4, &four));
  DimensionHandle batch = context->Dim(boxes, 0);
  DimensionHandle channels = context->UnknownDim();
  for (int level = 0; level < attributes.levels; ++level) {
    ShapeHandle features;
    TF_RETURN_IF_ERROR(context->WithRank(context->input(level), 4, &features));
    TF_RETURN_IF_ERROR(context->Merge(batch, context->Dim(features, 0), &batch));
    TF_RETURN_IF_ERROR(context->Merge(channels, context->Dim(features, 3), &channels));
  }
  context->set_output(0, context->MakeShape({batch, context->Dim(boxes, 1), context->MakeDim(attributes.output_size[0]),
                                             context->MakeDim(attributes.output_size[1]), channels}));
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  MultilevelRoiAlignAttributes attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  ShapeHandle gradient, boxes, expected;
  DimensionHandle four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 5, &gradient));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 2), 4, &four));
  expected =
      context->MakeShape({context->Dim(boxes, 0), context->Dim(boxes, 1), context->MakeDim(attributes.output_size[0]),
                          context->MakeDim(attributes.output_size[1]), context->UnknownDim()});
  TF_RETURN_IF_ERROR(context->Merge(gradient, expected, &gradient));
  for (int level = 0; level < attributes.levels; ++level) {
    ShapeHandle features;
    DimensionHandle batch, channels;
    TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2 + level, &features));
    TF_RETURN_IF_ERROR(context->WithRank(features, 4, &features));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(features, 0), context->Dim(gradient, 0), &batch));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(features, 3), context->Dim(gradient, 4), &channels));
    TF_RETURN_IF_ERROR(context->ReplaceDim(features, 0, batch, &features));
    TF_RETURN_IF_ERROR(context->ReplaceDim(features, 3, channels, &features));
    context->set_output(level, features);
  }
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES                      \
  Attr("T: {float, half, bfloat16, double}") \
      .Attr("levels: int >= 1")              \
      .Attr("output_size: list(int)")        \
      .Attr("spatial_scales: list(float)")   \
      .Attr("level_areas: list(float)")      \
      .Attr("sampling_ratio: int = 2")       \
      .Attr("aligned: bool = true")

REGISTER_OP("Kseg>MultilevelRoiAlign")
    .Input("features: levels * T")
    .Input("boxes: float")
    .Output("output: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Resamples boxes [B, N, 4] (x1 y1 x2 y2) of a pyramid of feature maps [B, H, W, C], each on the level that its area
chooses (level_areas), to grids: [B, N, output_size[0], output_size[1], C].
)doc");

REGISTER_OP("Kseg>MultilevelRoiAlignGrad")
    .Input("output_gradient: T")
    .Input("boxes: float")
    .Input("features_shapes: levels * Tshape")
    .Output("features_gradients: levels * T")
    .Attr("Tshape: {int32, int64} = DT_INT32")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of MultilevelRoiAlign with respect to its features; deterministic.
)doc");

#undef KSEG_ATTRIBUTES

KSEG_TF_CPU_KERNEL("Kseg>MultilevelRoiAlign", TfOp<MultilevelRoiAlignOp>);
KSEG_TF_CPU_KERNEL("Kseg>MultilevelRoiAlignGrad", TfOp<MultilevelRoiAlignGradOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<MultilevelRoiAlignOp>, Name("Kseg>MultilevelRoiAlign").TypeConstraint("T", kGpuFloats));
KSEG_TF_GPU_KERNEL(TfGpuOp<MultilevelRoiAlignGradOp>,
                   Name("Kseg>MultilevelRoiAlignGrad").HostMemory("features_shapes").TypeConstraint("T", kGpuFloats));

}  // namespace kseg::tf_multilevel_roi_align
