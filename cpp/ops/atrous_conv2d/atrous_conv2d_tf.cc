#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/atrous_conv2d/atrous_conv2d_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_atrous_conv2d {

absl::Status infer_shape(InferenceContext* context) {
  AtrousConv2dOp attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  ShapeHandle x, filters;
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &filters));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(x, 3), context->Dim(filters, 2), &channels));
  DimensionHandle outputs = context->Dim(filters, 3);
  for (const int i : {2, 3}) {
    ShapeHandle vector;
    TF_RETURN_IF_ERROR(context->WithRank(context->input(i), 1, &vector));
    const DimensionHandle size = context->Dim(vector, 0);
    // None at all stands for ones or zeros.
    if (!context->ValueKnown(size) || context->Value(size) == 0) continue;
    TF_RETURN_IF_ERROR(context->Merge(outputs, size, &outputs));
  }
  std::array<DimensionHandle, 2> sizes;
  TF_RETURN_IF_ERROR(infer_conv_size(context, x, filters, attributes.options, &sizes));
  context->set_output(0, context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], outputs}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>AtrousConv2d")
    .Input("x: T")
    .Input("filters: T")
    .Input("scale: float")
    .Input("offset: float")
    .Output("output: T")
    .Attr("T: {float, half, bfloat16}")
    .Attr("rate: list(int)")
    .Attr("activation: string = 'linear'")
    .Attr("padding: string = 'same'")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
activation(dilated convolution of x [B, H, W, C] by filters [kh, kw, C, F], times scale [F], plus offset [F]);
an empty scale or offset stands for none.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>AtrousConv2d", TfOp<AtrousConv2dOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<AtrousConv2dOp>, Name("Kseg>AtrousConv2d"));

}  // namespace kseg::tf_atrous_conv2d
