#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/max_unpool2d/max_unpool2d_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_max_unpool2d {

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle values, indices, size;
  DimensionHandle two;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &values));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &indices));
  TF_RETURN_IF_ERROR(context->Merge(values, indices, &values));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &size));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(size, 0), 2, &two));
  DimensionHandle height = context->UnknownDim();
  DimensionHandle width = context->UnknownDim();
  if (const Tensor* known = context->input_tensor(2)) {
    const auto sizes = known->vec<int32_t>();
    TF_RETURN_IF_ERROR(to_absl(check_max_unpool2d(sizes(0), sizes(1), 0, 0)));
    height = context->MakeDim(sizes(0));
    width = context->MakeDim(sizes(1));
  }
  context->set_output(0, context->MakeShape({context->Dim(values, 0), height, width, context->Dim(values, 3)}));
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  ShapeHandle gradient, indices;
  DimensionHandle batch, channels;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &gradient));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &indices));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(gradient, 0), context->Dim(indices, 0), &batch));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(gradient, 3), context->Dim(indices, 3), &channels));
  context->set_output(0, context->MakeShape({batch, context->Dim(indices, 1), context->Dim(indices, 2), channels}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>MaxUnpool2d")
    .Input("y: T")
    .Input("indices: int32")
    .Input("output_size: int32")
    .Output("x: T")
    .Attr("T: {float, half, bfloat16, double}")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Puts values [B, h, w, C] where their indices y * W + x point in images of output_size (H, W); the rest is 0.
)doc");

REGISTER_OP("Kseg>MaxUnpool2dGrad")
    .Input("x_gradient: T")
    .Input("indices: int32")
    .Output("y_gradient: T")
    .Attr("T: {float, half, bfloat16, double}")
    .SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of MaxUnpool2d with respect to y; deterministic.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>MaxUnpool2d", TfOp<MaxUnpool2dOp>);
KSEG_TF_CPU_KERNEL("Kseg>MaxUnpool2dGrad", TfOp<MaxUnpool2dGradOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<MaxUnpool2dOp>,
                   Name("Kseg>MaxUnpool2d").HostMemory("output_size").TypeConstraint("T", kGpuFloats));
KSEG_TF_GPU_KERNEL(TfGpuOp<MaxUnpool2dGradOp>, Name("Kseg>MaxUnpool2dGrad").TypeConstraint("T", kGpuFloats));

}  // namespace kseg::tf_max_unpool2d
