#include "ops/roi_align/roi_align.h"

#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/roi_align/roi_align_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

struct Attributes {
  std::vector<int64_t> output_size;
  RoiAlignOptions options;
};

template <class Context>
absl::Status get_attributes(Context* context, Attributes* attributes) {
  int64_t sampling_ratio;
  TF_RETURN_IF_ERROR(context->GetAttr("output_size", &attributes->output_size));
  TF_RETURN_IF_ERROR(context->GetAttr("spatial_scale", &attributes->options.spatial_scale));
  TF_RETURN_IF_ERROR(context->GetAttr("sampling_ratio", &sampling_ratio));
  TF_RETURN_IF_ERROR(context->GetAttr("aligned", &attributes->options.aligned));
  if (attributes->output_size.size() != 2) {
    return to_absl(
        invalid_argument("output_size must have two entries, height and width, got ", attributes->output_size.size()));
  }
  return to_absl(check_roi_align(attributes->output_size[0], attributes->output_size[1],
                                 attributes->options.spatial_scale, sampling_ratio,
                                 &attributes->options.sampling_ratio));
}

// Merges what boxes and box_indices tell about the number of boxes.
absl::Status infer_boxes(InferenceContext* context, DimensionHandle* boxes) {
  ShapeHandle corners, indices;
  DimensionHandle four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 2, &corners));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &indices));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(corners, 1), 4, &four));
  return context->Merge(context->Dim(corners, 0), context->Dim(indices, 0), boxes);
}

absl::Status infer_shape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(get_attributes(context, &attributes));
  ShapeHandle features;
  DimensionHandle boxes;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &features));
  TF_RETURN_IF_ERROR(infer_boxes(context, &boxes));
  context->set_output(0, context->MakeShape({boxes, context->MakeDim(attributes.output_size[0]),
                                             context->MakeDim(attributes.output_size[1]), context->Dim(features, 3)}));
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(get_attributes(context, &attributes));
  ShapeHandle gradient, expected, features;
  DimensionHandle boxes, channels;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &gradient));
  TF_RETURN_IF_ERROR(infer_boxes(context, &boxes));
  expected = context->MakeShape({boxes, context->MakeDim(attributes.output_size[0]),
                                 context->MakeDim(attributes.output_size[1]), context->UnknownDim()});
  TF_RETURN_IF_ERROR(context->Merge(gradient, expected, &gradient));
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(3, &features));
  TF_RETURN_IF_ERROR(context->WithRank(features, 4, &features));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(features, 3), context->Dim(gradient, 3), &channels));
  TF_RETURN_IF_ERROR(context->ReplaceDim(features, 3, channels, &features));
  context->set_output(0, features);
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES                      \
  Attr("T: {float, half, bfloat16, double}") \
      .Attr("output_size: list(int)")        \
      .Attr("spatial_scale: float = 1.0")    \
      .Attr("sampling_ratio: int = 2")       \
      .Attr("aligned: bool = true")

REGISTER_OP("Kseg>RoiAlign")
    .Input("features: T")
    .Input("boxes: float")
    .Input("box_indices: int32")
    .Output("output: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Resamples boxes (x1 y1 x2 y2) of a feature map [B, H, W, C] to grids: [K, output_size[0], output_size[1], C].
)doc");

REGISTER_OP("Kseg>RoiAlignGrad")
    .Input("output_gradient: T")
    .Input("boxes: float")
    .Input("box_indices: int32")
    .Input("features_shape: Tshape")
    .Output("features_gradient: T")
    .Attr("Tshape: {int32, int64} = DT_INT32")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of RoiAlign with respect to its features; deterministic.
)doc");

#undef KSEG_ATTRIBUTES

absl::Status get_rois(OpKernelContext* context, Rois* rois) {
  TF_RETURN_IF_ERROR(check_rank(context->input(1), 2, "boxes"));
  TF_RETURN_IF_ERROR(check_rank(context->input(2), 1, "box_indices"));
  rois->boxes = view_of<float, 2>(context->input(1));
  rois->image_indices = view_of<int32_t, 1>(context->input(2));
  return absl::OkStatus();
}

template <class T, class Device>
class RoiAlignOp final : public NativeOp {
 public:
  explicit RoiAlignOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& features = context->input(0);
    Rois rois;
    OP_REQUIRES_OK(context, check_rank(features, 4, "features"));
    OP_REQUIRES_OK(context, get_rois(context, &rois));
    const Shape<4> shape = {rois.boxes.shape[0], attributes_.output_size[0], attributes_.output_size[1],
                            features.dim_size(3)};
    OP_REQUIRES_OK(context, to_absl(check_result_size("output_size",
                                                      {shape[0], shape[1], shape[2], shape[3], int64_t{sizeof(T)}})));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape(shape), &output));
    const auto from = view_of<T, 4>(features);
    const auto to = mutable_view_of<T, 4>(output);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context,
                       [&](const ParallelFor& parallel_for) {
                         return roi_align(from, rois, attributes_.options, to, parallel_for);
                       },
                       [&](const auto& cuda) { return roi_align_cuda(from, rois, attributes_.options, to, cuda); }));
  }

 private:
  Attributes attributes_;
};

template <class T, class Device>
class RoiAlignGradOp final : public NativeOp {
 public:
  explicit RoiAlignGradOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& gradient = context->input(0);
    Rois rois;
    OP_REQUIRES_OK(context, check_rank(gradient, 4, "output_gradient"));
    OP_REQUIRES_OK(context, get_rois(context, &rois));
    Shape<4> shape;
    OP_REQUIRES_OK(context, get_shape("features_shape", context->input(3), sizeof(T), &shape));
    for (const int axis : {1, 2}) {
      OP_REQUIRES(context, gradient.dim_size(axis) == attributes_.output_size[axis - 1],
                  to_absl(invalid_argument("output_gradient must have the rows and columns of output_size, got shape ",
                                           gradient.shape().DebugString())));
    }
    Tensor* features_gradient = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape(shape), &features_gradient));
    const auto from = view_of<T, 4>(gradient);
    const auto to = mutable_view_of<T, 4>(features_gradient);
    OP_REQUIRES_OK(
        context, run_on<Device>(
                     context,
                     [&](const ParallelFor& parallel_for) {
                       return roi_align_grad(from, rois, attributes_.options, to, parallel_for);
                     },
                     [&](const auto& cuda) { return roi_align_grad_cuda(from, rois, attributes_.options, to, cuda); }));
  }

 private:
  Attributes attributes_;
};

#define KSEG_REGISTER(T)                                                                                   \
  REGISTER_KERNEL_BUILDER(Name("Kseg>RoiAlign").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
                          RoiAlignOp<T, OnCpu>);                                                           \
  REGISTER_KERNEL_BUILDER(Name("Kseg>RoiAlignGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          RoiAlignGradOp<T, OnCpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(double)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                            \
  REGISTER_KERNEL_BUILDER(Name("Kseg>RoiAlign").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"),              \
                          RoiAlignOp<T, OnGpu>);                                                                    \
  REGISTER_KERNEL_BUILDER(                                                                                          \
      Name("Kseg>RoiAlignGrad").Device(tensorflow::DEVICE_GPU).HostMemory("features_shape").TypeConstraint<T>("T"), \
      RoiAlignGradOp<T, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
