#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/mask_iou/mask_iou_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_mask_iou {

absl::Status infer_shape(InferenceContext* context) {
  MaskIouOp attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  const int64_t width = attributes.width;
  ShapeHandle a, b, crowd;
  DimensionHandle merged;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, &a));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 3, &b));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &crowd));
  for (const int axis : {1, 2}) {
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(a, axis), context->Dim(b, axis), &merged));
  }
  if (width != kDenseMasks) TF_RETURN_IF_ERROR(context->WithValue(merged, (width + 7) / 8, &merged));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(b, 0), context->Dim(crowd, 0), &merged));
  for (const int input : {3, 4}) {
    ShapeHandle boxes;
    DimensionHandle four;
    TF_RETURN_IF_ERROR(context->WithRank(context->input(input), 2, &boxes));
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 1), 4, &four));
  }
  context->set_output(0, context->Matrix(context->Dim(a, 0), merged));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>MaskIou")
    .Input("a: T")
    .Input("b: T")
    .Input("is_crowd: bool")
    .Input("boxes_a: float")
    .Input("boxes_b: float")
    .Output("iou: float")
    .Attr("T: {bool, uint8}")
    .Attr("width: int = -1")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Intersection over union of binary masks: [N, H, W] and [M, H, W], or bit-packed if width is not -1, give [N, M].
Boxes (x1 y1 x2 y2) are one per mask, outside which nothing is set, or [0, 4] for none.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>MaskIou", TfOp<MaskIouOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<MaskIouOp>, Name("Kseg>MaskIou"));

}  // namespace kseg::tf_mask_iou
