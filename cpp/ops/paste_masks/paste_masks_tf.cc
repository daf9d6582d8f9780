#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/paste_masks/paste_masks_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_paste_masks {

// Ranks and the number of masks.
absl::Status infer_count(InferenceContext* context, DimensionHandle* count) {
  TF_RETURN_IF_ERROR(to_absl(PasteMasksAttributes().read(TfAttributes(context))));
  ShapeHandle masks, boxes, size;
  DimensionHandle known;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 2, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 1), 4, &known));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &size));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(size, 0), 2, &known));
  return context->Merge(context->Dim(masks, 0), context->Dim(boxes, 0), count);
}

absl::Status infer_shape(InferenceContext* context) {
  DimensionHandle count;
  ShapeHandle image;
  bool packed;
  TF_RETURN_IF_ERROR(infer_count(context, &count));
  TF_RETURN_IF_ERROR(context->GetAttr("packed", &packed));
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2, &image));
  TF_RETURN_IF_ERROR(context->WithRank(image, 2, &image));
  DimensionHandle row = context->Dim(image, 1);
  if (packed) row = context->ValueKnown(row) ? context->MakeDim((context->Value(row) + 7) / 8) : context->UnknownDim();
  context->set_output(0, context->MakeShape({count, context->Dim(image, 0), row}));
  return absl::OkStatus();
}

absl::Status infer_rle_shape(InferenceContext* context) {
  DimensionHandle count, splits;
  TF_RETURN_IF_ERROR(infer_count(context, &count));
  TF_RETURN_IF_ERROR(context->Add(count, 1, &splits));
  context->set_output(0, context->Vector(context->UnknownDim()));
  context->set_output(1, context->Vector(splits));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>PasteMasks")
    .Input("masks: T")
    .Input("boxes: float")
    .Input("image_size: int32")
    .Output("pasted: uint8")
    .Attr("T: {float, half, bfloat16}")
    .Attr("mode: string = 'detectron2'")
    .Attr("threshold: float = 0.5")
    .Attr("packed: bool = false")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Resamples masks [N, h, w] into their boxes (x1 y1 x2 y2) of an image and thresholds: [N, H, W], or packed to bits.
)doc");

REGISTER_OP("Kseg>PasteMasksRle")
    .Input("masks: T")
    .Input("boxes: float")
    .Input("image_size: int32")
    .Output("counts: int32")
    .Output("row_splits: int64")
    .Attr("T: {float, half, bfloat16}")
    .Attr("mode: string = 'detectron2'")
    .Attr("threshold: float = 0.5")
    .SetShapeFn(infer_rle_shape)
    .Doc(R"doc(
As PasteMasks, but gives the run lengths of the columns of each mask, beginning with zeros.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>PasteMasks", TfOp<PasteMasksOp>);
KSEG_TF_CPU_KERNEL("Kseg>PasteMasksRle", TfOp<PasteMasksRleOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<PasteMasksOp>, Name("Kseg>PasteMasks").HostMemory("image_size"));
KSEG_TF_GPU_KERNEL(TfGpuOp<PasteMasksRleOp>, Name("Kseg>PasteMasksRle").HostMemory("image_size"));

}  // namespace kseg::tf_paste_masks
