#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/nms/nms_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_nms {

absl::Status infer_shape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(to_absl(NmsOp().read(TfAttributes(context))));
  ShapeHandle boxes, scores, class_ids;
  DimensionHandle four, count;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 2, &boxes));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 1, &scores));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &class_ids));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 1), 4, &four));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(boxes, 0), context->Dim(scores, 0), &count));
  const DimensionHandle ids = context->Dim(class_ids, 0);
  if (context->ValueKnown(ids) && context->Value(ids) != 0) TF_RETURN_IF_ERROR(context->Merge(ids, count, &count));
  context->set_output(0, context->Vector(context->UnknownDim()));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>Nms")
    .Input("boxes: float")
    .Input("scores: float")
    .Input("class_ids: int32")
    .Output("kept: int32")
    .Attr("iou_threshold: float")
    .Attr("score_threshold: float")
    .Attr("max_output_size: int = -1")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Indices of the boxes [N, 4] (x1 y1 x2 y2) that no better one of their class suppresses, best first.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>Nms", TfOp<NmsOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<NmsOp>, Name("Kseg>Nms"));

}  // namespace kseg::tf_nms
