#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/mask_nms/mask_nms_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_mask_nms {

absl::Status infer_shape(InferenceContext* context) {
  MaskNmsOp attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  const MaskNmsOptions& options = attributes.options;
  ShapeHandle masks, scores, class_ids, boxes, pairs;
  DimensionHandle bytes, four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 2, &scores));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 2, &class_ids));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(3), 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 2), 4, &four));
  TF_RETURN_IF_ERROR(context->Merge(scores, class_ids, &scores));
  TF_RETURN_IF_ERROR(context->Subshape(masks, 0, 2, &pairs));
  TF_RETURN_IF_ERROR(context->Merge(scores, pairs, &scores));
  if (options.width >= 0) {
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(masks, 3), (options.width + 7) / 8, &bytes));
  }
  const DimensionHandle batch = context->Dim(scores, 0);
  const DimensionHandle size =
      options.max_output_size < 0 ? context->Dim(scores, 1) : context->MakeDim(options.max_output_size);
  context->set_output(0, context->Matrix(batch, size));
  context->set_output(1, context->Matrix(batch, size));
  context->set_output(2, context->Vector(batch));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>MaskNms")
    .Input("masks: T")
    .Input("scores: float")
    .Input("class_ids: int32")
    .Input("boxes: float")
    .Output("indices: int32")
    .Output("kept_scores: float")
    .Output("num_valid: int32")
    .Attr("T: {bool, uint8}")
    .Attr("max_output_size: int >= -1")
    .Attr("kind: string = 'hard'")
    .Attr("iou_threshold: float = 0.5")
    .Attr("score_threshold: float = 0.0")
    .Attr("has_score_threshold: bool = false")
    .Attr("sigma: float = 0.5")
    .Attr("width: int = -1")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Non-maximum suppression of binary masks [B, N, H, W] by their overlap; results are padded to max_output_size.
Boxes [B, N, 4] (x1 y1 x2 y2) are one per mask, outside which nothing is set, or [0, 0, 4] for none.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>MaskNms", TfOp<MaskNmsOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<MaskNmsOp>, Name("Kseg>MaskNms"));

}  // namespace kseg::tf_mask_nms
