#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/batched_nms/batched_nms_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_batched_nms {

absl::Status infer_shape(InferenceContext* context) {
  BatchedNmsOp attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  ShapeHandle boxes = context->input(0);
  ShapeHandle scores = context->input(1);
  ShapeHandle class_ids;
  DimensionHandle images = context->UnknownDim();
  DimensionHandle rows = context->UnknownDim();
  DimensionHandle four, merged;
  TF_RETURN_IF_ERROR(context->WithRankAtLeast(boxes, 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithRankAtMost(boxes, 4, &boxes));
  TF_RETURN_IF_ERROR(context->WithRankAtLeast(scores, 2, &scores));
  TF_RETURN_IF_ERROR(context->WithRankAtMost(scores, 3, &scores));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 2, &class_ids));
  if (context->RankKnown(scores)) {
    images = context->Dim(scores, 0);
    rows = context->Dim(scores, 1);
  }
  if (context->RankKnown(boxes)) {
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(boxes, 0), images, &images));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(boxes, 1), rows, &rows));
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, -1), 4, &four));
    const bool both = context->Rank(boxes) == 4 && context->RankKnown(scores) && context->Rank(scores) == 3;
    const DimensionHandle sets = context->Dim(boxes, 2);
    if (both && context->ValueKnown(sets) && context->Value(sets) != 1) {
      TF_RETURN_IF_ERROR(context->Merge(sets, context->Dim(scores, 2), &merged));
    }
  }
  const DimensionHandle id_images = context->Dim(class_ids, 0);
  const DimensionHandle id_rows = context->Dim(class_ids, 1);
  const bool given = (context->ValueKnown(id_images) && context->Value(id_images) != 0) ||
                     (context->ValueKnown(id_rows) && context->Value(id_rows) != 0);
  if (given) {
    TF_RETURN_IF_ERROR(context->Merge(id_images, images, &images));
    TF_RETURN_IF_ERROR(context->Merge(id_rows, rows, &merged));
  }
  const DimensionHandle room = context->MakeDim(attributes.options.max_output_size);
  context->set_output(0, context->MakeShape({images, room, context->MakeDim(4)}));
  for (const int output : {1, 2, 3}) context->set_output(output, context->Matrix(images, room));
  context->set_output(4, context->Vector(images));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>BatchedNms")
    .Input("boxes: float")
    .Input("scores: float")
    .Input("class_ids: int32")
    .Output("kept_boxes: float")
    .Output("kept_scores: float")
    .Output("kept_classes: int32")
    .Output("kept_indices: int32")
    .Output("num_valid: int32")
    .Attr("iou_threshold: float")
    .Attr("score_threshold: float")
    .Attr("max_output_size: int")
    .Attr("max_per_class: int = -1")
    .Attr("class_agnostic: bool = false")
    .Attr("sigma: float = 0.5")
    .Attr("method: string = 'hard'")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
The best boxes of each image after suppression: boxes [B, N, 4] or [B, N, C, 4], scores [B, N] or [B, N, C].
)doc");

KSEG_TF_CPU_KERNEL("Kseg>BatchedNms", TfOp<BatchedNmsOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<BatchedNmsOp>, Name("Kseg>BatchedNms"));

}  // namespace kseg::tf_batched_nms
