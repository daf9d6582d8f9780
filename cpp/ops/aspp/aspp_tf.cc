#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/aspp/aspp_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_aspp {

// Merges the output channels of one set of filters with the sizes of its scale and offset.
absl::Status merge_channels(InferenceContext* context, ShapeHandle filters, ShapeHandle scale, ShapeHandle offset,
                            DimensionHandle inputs, DimensionHandle* outputs) {
  DimensionHandle unused;
  TF_RETURN_IF_ERROR(context->WithRank(filters, 4, &filters));
  TF_RETURN_IF_ERROR(context->WithRank(scale, 1, &scale));
  TF_RETURN_IF_ERROR(context->WithRank(offset, 1, &offset));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(filters, 2), inputs, &unused));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(filters, 3), context->Dim(scale, 0), outputs));
  return context->Merge(*outputs, context->Dim(offset, 0), outputs);
}

absl::Status infer_shape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(to_absl(AsppOp().read(TfAttributes(context))));
  std::vector<ShapeHandle> x, filters, scales, offsets, depthwise, depthwise_scales, depthwise_offsets;
  TF_RETURN_IF_ERROR(context->input("x", &x));
  ShapeHandle features;
  TF_RETURN_IF_ERROR(context->WithRank(x[0], 4, &features));
  const DimensionHandle channels = context->Dim(features, 3);
  DimensionHandle sum = context->MakeDim(0), outputs;
  for (const std::string prefix : {"branch", "pooling"}) {
    TF_RETURN_IF_ERROR(context->input(prefix + "_filters", &filters));
    TF_RETURN_IF_ERROR(context->input(prefix + "_scales", &scales));
    TF_RETURN_IF_ERROR(context->input(prefix + "_offsets", &offsets));
    for (size_t i = 0; i < filters.size(); ++i) {
      TF_RETURN_IF_ERROR(merge_channels(context, filters[i], scales[i], offsets[i], channels, &outputs));
      TF_RETURN_IF_ERROR(context->Add(sum, outputs, &sum));
    }
  }
  TF_RETURN_IF_ERROR(context->input("depthwise", &depthwise));
  TF_RETURN_IF_ERROR(context->input("depthwise_scales", &depthwise_scales));
  TF_RETURN_IF_ERROR(context->input("depthwise_offsets", &depthwise_offsets));
  for (size_t i = 0; i < depthwise.size(); ++i) {
    ShapeHandle kernel;
    DimensionHandle unused;
    TF_RETURN_IF_ERROR(context->WithRank(depthwise[i], 4, &kernel));
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(kernel, 3), 1, &unused));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(kernel, 2), channels, &unused));
    for (ShapeHandle vector : {depthwise_scales[i], depthwise_offsets[i]}) {
      TF_RETURN_IF_ERROR(context->WithRank(vector, 1, &vector));
      TF_RETURN_IF_ERROR(context->Merge(context->Dim(vector, 0), channels, &unused));
    }
  }
  TF_RETURN_IF_ERROR(context->input("projection", &filters));
  TF_RETURN_IF_ERROR(context->input("projection_scale", &scales));
  TF_RETURN_IF_ERROR(context->input("projection_offset", &offsets));
  TF_RETURN_IF_ERROR(merge_channels(context, filters[0], scales[0], offsets[0], sum, &outputs));
  context->set_output(0, context->MakeShape({context->Dim(features, 0), context->Dim(features, 1),
                                             context->Dim(features, 2), outputs}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>Aspp")
    .Input("x: T")
    .Input("branch_filters: num_branches * T")
    .Input("branch_scales: num_branches * float")
    .Input("branch_offsets: num_branches * float")
    .Input("depthwise: num_separable * T")
    .Input("depthwise_scales: num_separable * float")
    .Input("depthwise_offsets: num_separable * float")
    .Input("pooling_filters: num_pooling * T")
    .Input("pooling_scales: num_pooling * float")
    .Input("pooling_offsets: num_pooling * float")
    .Input("projection: T")
    .Input("projection_scale: float")
    .Input("projection_offset: float")
    .Output("output: T")
    .Attr("T: {float, half, bfloat16}")
    .Attr("num_branches: int >= 1")
    .Attr("num_separable: int >= 0")
    .Attr("num_pooling: int >= 0")
    .Attr("rates: list(int)")
    .Attr("separable: list(bool)")
    .Attr("activations: list(string)")
    .Attr("depthwise_activations: list(string)")
    .Attr("pooling_activation: string = 'relu'")
    .Attr("projection_activation: string = 'relu'")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Atrous spatial pyramid pooling of x [B, H, W, C]: branches (those marked separable take the next depthwise filters), the
pooled branch and their projection, each with its scale, offset and activation.
)doc");

KSEG_TF_CPU_KERNEL("Kseg>Aspp", TfOp<AsppOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<AsppOp>, Name("Kseg>Aspp"));

}  // namespace kseg::tf_aspp
