#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/max_pool_with_indices/max_pool_with_indices_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_max_pool_with_indices {

DimensionHandle outputs(InferenceContext* context, const PoolAxis& axis, DimensionHandle size) {
  if (!context->ValueKnown(size)) return context->UnknownDim();
  return context->MakeDim(axis.outputs(context->Value(size)));
}

absl::Status infer_pooled(InferenceContext* context, ShapeHandle images, ShapeHandle* pooled) {
  MaxPoolAttributes attributes;
  TF_RETURN_IF_ERROR(to_absl(attributes.read(TfAttributes(context))));
  const PoolWindows& windows = attributes.windows;
  TF_RETURN_IF_ERROR(context->WithRank(images, 4, &images));
  *pooled = context->MakeShape({context->Dim(images, 0), outputs(context, windows.rows, context->Dim(images, 1)),
                                outputs(context, windows.columns, context->Dim(images, 2)), context->Dim(images, 3)});
  return absl::OkStatus();
}

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle pooled;
  TF_RETURN_IF_ERROR(infer_pooled(context, context->input(0), &pooled));
  context->set_output(0, pooled);
  context->set_output(1, pooled);
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  ShapeHandle images, pooled, given;
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2, &images));
  TF_RETURN_IF_ERROR(context->WithRank(images, 4, &images));
  TF_RETURN_IF_ERROR(infer_pooled(context, images, &pooled));
  TF_RETURN_IF_ERROR(context->Merge(context->input(0), context->input(1), &given));
  TF_RETURN_IF_ERROR(context->Merge(given, pooled, &given));
  for (const int axis : {0, 3}) {
    DimensionHandle size;
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(images, axis), context->Dim(given, axis), &size));
    TF_RETURN_IF_ERROR(context->ReplaceDim(images, axis, size, &images));
  }
  context->set_output(0, images);
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES                      \
  Attr("T: {float, half, bfloat16, double}") \
      .Attr("pool_size: list(int)")          \
      .Attr("strides: list(int)")            \
      .Attr("padding: {'valid', 'same'} = 'valid'")

REGISTER_OP("Kseg>MaxPoolWithIndices")
    .Input("x: T")
    .Output("y: T")
    .Output("indices: int32")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Max pooling of images [B, H, W, C], with the place y * W + x of each maximum in its image and channel.
)doc");

REGISTER_OP("Kseg>MaxPoolWithIndicesGrad")
    .Input("y_gradient: T")
    .Input("indices: int32")
    .Input("x_shape: Tshape")
    .Output("x_gradient: T")
    .Attr("Tshape: {int32, int64} = DT_INT32")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of MaxPoolWithIndices with respect to x; deterministic. An index outside its window counts for nothing.
)doc");

#undef KSEG_ATTRIBUTES

KSEG_TF_CPU_KERNEL("Kseg>MaxPoolWithIndices", TfOp<MaxPoolWithIndicesOp>);
KSEG_TF_CPU_KERNEL("Kseg>MaxPoolWithIndicesGrad", TfOp<MaxPoolWithIndicesGradOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<MaxPoolWithIndicesOp>, Name("Kseg>MaxPoolWithIndices").TypeConstraint("T", kGpuFloats));
KSEG_TF_GPU_KERNEL(TfGpuOp<MaxPoolWithIndicesGradOp>,
                   Name("Kseg>MaxPoolWithIndicesGrad").HostMemory("x_shape").TypeConstraint("T", kGpuFloats));

}  // namespace kseg::tf_max_pool_with_indices
