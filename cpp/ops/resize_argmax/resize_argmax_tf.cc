#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/resize_argmax/resize_argmax_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_resize_argmax {

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle logits, size;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &logits));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 1, &size));
  DimensionHandle two;
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(size, 0), 2, &two));
  DimensionHandle height = context->UnknownDim();
  DimensionHandle width = context->UnknownDim();
  if (const Tensor* known = context->input_tensor(1)) {
    const auto values = known->vec<int32_t>();
    TF_RETURN_IF_ERROR(to_absl(check_argmax_size(values(0), values(1))));
    height = context->MakeDim(values(0));
    width = context->MakeDim(values(1));
  }
  context->set_output(0, context->MakeShape({context->Dim(logits, 0), height, width}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>ResizeArgmax")
    .Input("logits: T")
    .Input("size: int32")
    .Output("classes: int32")
    .Attr("T: {float, half, bfloat16, double}")
    .Attr("align_corners: bool = false")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
The argmax over the last axis of bilinearly resized logits [batch, height, width, classes].
)doc");

KSEG_TF_CPU_KERNEL("Kseg>ResizeArgmax", TfOp<ResizeArgmaxOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<ResizeArgmaxOp>,
                   Name("Kseg>ResizeArgmax").HostMemory("size").TypeConstraint("T", kGpuFloats));

}  // namespace kseg::tf_resize_argmax
