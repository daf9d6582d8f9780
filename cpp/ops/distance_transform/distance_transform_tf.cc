#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/distance_transform/distance_transform_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_distance_transform {

absl::Status infer_shape(InferenceContext* context) {
  bool return_indices;
  TF_RETURN_IF_ERROR(context->GetAttr("return_indices", &return_indices));
  ShapeHandle masks, sampling;
  DimensionHandle two;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 1, &sampling));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(sampling, 0), 2, &two));
  context->set_output(0, masks);
  if (return_indices) {
    context->set_output(
        1, context->MakeShape({context->Dim(masks, 0), context->Dim(masks, 1), context->Dim(masks, 2), 2}));
  } else {
    context->set_output(1, context->MakeShape({0, 0, 0, 2}));
  }
  return absl::OkStatus();
}

REGISTER_OP("Kseg>DistanceTransform")
    .Input("masks: T")
    .Input("sampling: double")
    .Output("distances: float")
    .Output("indices: int32")
    .Attr("T: {bool, uint8, int8}")
    .Attr("signed: bool = false")
    .Attr("return_indices: bool = false")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Exact Euclidean distance of the nonzero pixels of masks [N, H, W] to the nearest zero pixel; indices [N, H, W, 2] hold the
row and column of that pixel, or have no elements if they are not asked for.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>DistanceTransform", TfOp<DistanceTransformOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<DistanceTransformOp>, Name("Kseg>DistanceTransform").HostMemory("sampling"));

}  // namespace kseg::tf_distance_transform
