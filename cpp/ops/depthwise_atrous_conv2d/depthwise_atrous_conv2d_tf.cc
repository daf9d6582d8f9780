#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_depthwise_atrous_conv2d {

absl::Status infer_output(InferenceContext* context, ShapeHandle x, ShapeHandle filters, ShapeHandle* output) {
  ConvOptions options;
  TF_RETURN_IF_ERROR(to_absl(get_conv_options(TfAttributes(context), &options)));
  TF_RETURN_IF_ERROR(context->WithRank(x, 4, &x));
  TF_RETURN_IF_ERROR(context->WithRank(filters, 4, &filters));
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(x, 3), context->Dim(filters, 2), &channels));
  TF_RETURN_IF_ERROR(context->Multiply(channels, context->Dim(filters, 3), &channels));
  std::array<DimensionHandle, 2> sizes;
  TF_RETURN_IF_ERROR(infer_conv_size(context, x, filters, options, &sizes, "filters", kMaxDepthwiseKernel));
  *output = context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], channels});
  return absl::OkStatus();
}

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle output;
  TF_RETURN_IF_ERROR(infer_output(context, context->input(0), context->input(1), &output));
  context->set_output(0, output);
  return absl::OkStatus();
}

template <int like>
absl::Status infer_gradient_shape(InferenceContext* context) {
  ShapeHandle output, gradient;
  TF_RETURN_IF_ERROR(infer_output(context, context->input(0), context->input(1), &output));
  TF_RETURN_IF_ERROR(context->Merge(output, context->input(2), &gradient));
  context->set_output(0, context->input(like));
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES Attr("T: {float, half, bfloat16}").Attr("rate: list(int)").Attr("padding: string")

REGISTER_OP("Kseg>DepthwiseAtrousConv2d")
    .Input("x: T")
    .Input("filters: T")
    .Output("output: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Depthwise dilated convolution of x [B, H, W, C] with filters [kh, kw, C, m]: [B, h, w, C * m].
)doc");

REGISTER_OP("Kseg>DepthwiseAtrousConv2dInputGrad")
    .Input("x: T")
    .Input("filters: T")
    .Input("output_gradient: T")
    .Output("x_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape<0>)
    .Doc(R"doc(
The gradient of DepthwiseAtrousConv2d with respect to x, of which the shape alone is read; deterministic.
)doc");

REGISTER_OP("Kseg>DepthwiseAtrousConv2dFilterGrad")
    .Input("x: T")
    .Input("filters: T")
    .Input("output_gradient: T")
    .Output("filters_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape<1>)
    .Doc(R"doc(
The gradient of DepthwiseAtrousConv2d with respect to filters, of which the shape alone is read; deterministic.
)doc");

#undef KSEG_ATTRIBUTES

KSEG_TF_CPU_KERNEL("Kseg>DepthwiseAtrousConv2d", TfOp<DepthwiseAtrousOp>);
KSEG_TF_CPU_KERNEL("Kseg>DepthwiseAtrousConv2dInputGrad", TfOp<DepthwiseAtrousGradOp<true>>);
KSEG_TF_CPU_KERNEL("Kseg>DepthwiseAtrousConv2dFilterGrad", TfOp<DepthwiseAtrousGradOp<false>>);
KSEG_TF_GPU_KERNEL(TfGpuOp<DepthwiseAtrousOp>, Name("Kseg>DepthwiseAtrousConv2d"));
KSEG_TF_GPU_KERNEL(TfGpuOp<DepthwiseAtrousGradOp<true>>, Name("Kseg>DepthwiseAtrousConv2dInputGrad"));
KSEG_TF_GPU_KERNEL(TfGpuOp<DepthwiseAtrousGradOp<false>>, Name("Kseg>DepthwiseAtrousConv2dFilterGrad"));

}  // namespace kseg::tf_depthwise_atrous_conv2d
