#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_atrous_separable_conv2d {

// One entry per channel, or none.
absl::Status check_affine(InferenceContext* context, int input, DimensionHandle channels) {
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(input), 1, &shape));
  const DimensionHandle entries = context->Dim(shape, 0);
  if (!context->ValueKnown(entries) || context->Value(entries) == 0) return absl::OkStatus();
  DimensionHandle merged;
  return context->Merge(entries, channels, &merged);
}

absl::Status infer_shape(InferenceContext* context) {
  AtrousSeparableOp attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  ShapeHandle x, depthwise, pointwise;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &depthwise));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 4, &pointwise));
  DimensionHandle one, channels;
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(pointwise, 0), 1, &one));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(pointwise, 1), 1, &one));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(x, 3), context->Dim(depthwise, 2), &channels));
  TF_RETURN_IF_ERROR(context->Multiply(channels, context->Dim(depthwise, 3), &channels));
  TF_RETURN_IF_ERROR(context->Merge(channels, context->Dim(pointwise, 2), &channels));
  const DimensionHandle filters = context->Dim(pointwise, 3);
  TF_RETURN_IF_ERROR(check_affine(context, 3, channels));
  TF_RETURN_IF_ERROR(check_affine(context, 4, channels));
  TF_RETURN_IF_ERROR(check_affine(context, 5, filters));
  TF_RETURN_IF_ERROR(check_affine(context, 6, filters));
  std::array<DimensionHandle, 2> sizes;
  TF_RETURN_IF_ERROR(
      infer_conv_size(context, x, depthwise, attributes.options, &sizes, "depthwise", kMaxDepthwiseKernel));
  context->set_output(0, context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], filters}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>AtrousSeparableConv2d")
    .Input("x: T")
    .Input("depthwise: T")
    .Input("pointwise: T")
    .Input("depthwise_scale: float")
    .Input("depthwise_offset: float")
    .Input("scale: float")
    .Input("offset: float")
    .Output("output: T")
    .Attr("T: {float, half, bfloat16}")
    .Attr("rate: list(int)")
    .Attr("padding: string")
    .Attr("depthwise_activation: string = ''")
    .Attr("activation: string = ''")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Depthwise dilated convolution of x [B, H, W, C] with depthwise [kh, kw, C, m], then the pointwise convolution with
pointwise [1, 1, C * m, F], each followed by an affine map and an activation: [B, h, w, F]. A scale or offset without
elements stands for ones or zeros.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>AtrousSeparableConv2d", TfOp<AtrousSeparableOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<AtrousSeparableOp>, Name("Kseg>AtrousSeparableConv2d"));

}  // namespace kseg::tf_atrous_separable_conv2d
