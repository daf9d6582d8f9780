#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/crop_masks/crop_masks_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_crop_masks {

// `boxes`, `mask_indices` and `image_size` are the last three of the inputs, and those before have the given ranks.
absl::Status infer_shape(InferenceContext* context, const std::vector<int>& ranks) {
  CropMasksAttributes attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  const CropMasksOptions& options = attributes.options;
  const int first = static_cast<int>(ranks.size());
  ShapeHandle masks, corners, indices, image_size;
  DimensionHandle four, two, boxes;
  for (int i = 0; i < first; ++i) TF_RETURN_IF_ERROR(context->WithRank(context->input(i), ranks[i], &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(first), 2, &corners));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(first + 1), 1, &indices));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(first + 2), 1, &image_size));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(corners, 1), 4, &four));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(image_size, 0), 2, &two));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(corners, 0), context->Dim(indices, 0), &boxes));
  context->set_output(0,
                      context->MakeShape({boxes, context->MakeDim(options.height), context->MakeDim(options.width)}));
  return absl::OkStatus();
}

#define KSEG_BOXES .Input("boxes: float").Input("mask_indices: int32").Input("image_size: int32")
#define KSEG_OUTPUT .Output("output: float").Attr("size: list(int)")
#define KSEG_SAMPLING .Attr("sampling_ratio: int = 0").Attr("aligned: bool = false")

REGISTER_OP("Kseg>CropMasks")
    .Input("masks: uint8") KSEG_BOXES KSEG_OUTPUT KSEG_SAMPLING.Attr("packed: bool = false")
    .SetShapeFn([](InferenceContext* context) { return infer_shape(context, {3}); })
    .Doc(R"doc(
Crops of masks [M, H, W], or packed [M, H, ceil(W / 8)], under boxes (x1 y1 x2 y2): [K, size[0], size[1]].
)doc");

REGISTER_OP("Kseg>CropMasksRle")
    .Input("counts: int32")
    .Input("mask_splits: int64") KSEG_BOXES KSEG_OUTPUT KSEG_SAMPLING
    .SetShapeFn([](InferenceContext* context) { return infer_shape(context, {1, 1}); })
    .Doc(R"doc(
The same of run-length encoded masks; mask_splits [M + 1] cut the run lengths into masks.
)doc");

REGISTER_OP("Kseg>CropMasksPolygon")
    .Input("coordinates: T")
    .Input("polygon_splits: int64")
    .Input("mask_splits: int64") KSEG_BOXES KSEG_OUTPUT KSEG_SAMPLING.Attr("T: {float, double}")
    .SetShapeFn([](InferenceContext* context) { return infer_shape(context, {1, 1, 1}); })
    .Doc(R"doc(
The same of polygons: polygon_splits cut the coordinates into polygons, mask_splits [M + 1] the polygons into masks.
)doc");

#undef KSEG_BOXES
#undef KSEG_OUTPUT
#undef KSEG_SAMPLING

KSEG_TF_CPU_KERNEL("Kseg>CropMasks", TfOp<CropMasksOp>);
KSEG_TF_CPU_KERNEL("Kseg>CropMasksRle", TfOp<CropMasksRleOp>);
KSEG_TF_CPU_KERNEL("Kseg>CropMasksPolygon", TfOp<CropMasksPolygonOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<CropMasksOp>, Name("Kseg>CropMasks").HostMemory("image_size"));
KSEG_TF_GPU_KERNEL(TfGpuOp<CropMasksRleOp>, Name("Kseg>CropMasksRle").HostMemory("image_size"));
KSEG_TF_GPU_KERNEL(TfGpuOp<CropMasksPolygonOp>, Name("Kseg>CropMasksPolygon").HostMemory("image_size"));

}  // namespace kseg::tf_crop_masks
