#include "ops/multilevel_roi_align/multilevel_roi_align.h"

#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/multilevel_roi_align/multilevel_roi_align_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

struct Attributes {
  int levels = 0;
  std::vector<int64_t> output_size;
  MultilevelRoiAlignOptions options;
};

template <class Context>
absl::Status get_attributes(Context* context, Attributes* attributes) {
  int64_t levels, sampling_ratio;
  MultilevelRoiAlignOptions* const options = &attributes->options;
  TF_RETURN_IF_ERROR(context->GetAttr("levels", &levels));
  TF_RETURN_IF_ERROR(context->GetAttr("output_size", &attributes->output_size));
  TF_RETURN_IF_ERROR(context->GetAttr("spatial_scales", &options->spatial_scales));
  TF_RETURN_IF_ERROR(context->GetAttr("level_areas", &options->level_areas));
  TF_RETURN_IF_ERROR(context->GetAttr("sampling_ratio", &sampling_ratio));
  TF_RETURN_IF_ERROR(context->GetAttr("aligned", &options->aligned));
  if (attributes->output_size.size() != 2) {
    return to_absl(
        invalid_argument("output_size must have two entries, height and width, got ", attributes->output_size.size()));
  }
  TF_RETURN_IF_ERROR(to_absl(check_multilevel_roi_align(attributes->output_size[0], attributes->output_size[1],
                                                        sampling_ratio, levels, options)));
  attributes->levels = static_cast<int>(levels);
  return absl::OkStatus();
}

absl::Status infer_shape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(get_attributes(context, &attributes));
  ShapeHandle boxes;
  DimensionHandle four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(attributes.levels), 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 2), 4, &four));
  DimensionHandle batch = context->Dim(boxes, 0);
  DimensionHandle channels = context->UnknownDim();
  for (int level = 0; level < attributes.levels; ++level) {
    ShapeHandle features;
    TF_RETURN_IF_ERROR(context->WithRank(context->input(level), 4, &features));
    TF_RETURN_IF_ERROR(context->Merge(batch, context->Dim(features, 0), &batch));
    TF_RETURN_IF_ERROR(context->Merge(channels, context->Dim(features, 3), &channels));
  }
  context->set_output(0, context->MakeShape({batch, context->Dim(boxes, 1), context->MakeDim(attributes.output_size[0]),
                                             context->MakeDim(attributes.output_size[1]), channels}));
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(get_attributes(context, &attributes));
  ShapeHandle gradient, boxes, expected;
  DimensionHandle four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 5, &gradient));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 2), 4, &four));
  expected =
      context->MakeShape({context->Dim(boxes, 0), context->Dim(boxes, 1), context->MakeDim(attributes.output_size[0]),
                          context->MakeDim(attributes.output_size[1]), context->UnknownDim()});
  TF_RETURN_IF_ERROR(context->Merge(gradient, expected, &gradient));
  for (int level = 0; level < attributes.levels; ++level) {
    ShapeHandle features;
    DimensionHandle batch, channels;
    TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2 + level, &features));
    TF_RETURN_IF_ERROR(context->WithRank(features, 4, &features));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(features, 0), context->Dim(gradient, 0), &batch));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(features, 3), context->Dim(gradient, 4), &channels));
    TF_RETURN_IF_ERROR(context->ReplaceDim(features, 0, batch, &features));
    TF_RETURN_IF_ERROR(context->ReplaceDim(features, 3, channels, &features));
    context->set_output(level, features);
  }
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES                      \
  Attr("T: {float, half, bfloat16, double}") \
      .Attr("levels: int >= 1")              \
      .Attr("output_size: list(int)")        \
      .Attr("spatial_scales: list(float)")   \
      .Attr("level_areas: list(float)")      \
      .Attr("sampling_ratio: int = 2")       \
      .Attr("aligned: bool = true")

REGISTER_OP("Kseg>MultilevelRoiAlign")
    .Input("features: levels * T")
    .Input("boxes: float")
    .Output("output: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Resamples boxes [B, N, 4] (x1 y1 x2 y2) of a pyramid of feature maps [B, H, W, C], each on the level that its area
chooses (level_areas), to grids: [B, N, output_size[0], output_size[1], C].
)doc");

REGISTER_OP("Kseg>MultilevelRoiAlignGrad")
    .Input("output_gradient: T")
    .Input("boxes: float")
    .Input("features_shapes: levels * Tshape")
    .Output("features_gradients: levels * T")
    .Attr("Tshape: {int32, int64} = DT_INT32")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of MultilevelRoiAlign with respect to its features; deterministic.
)doc");

#undef KSEG_ATTRIBUTES

template <class T, class Device>
class MultilevelRoiAlignOp final : public NativeOp {
 public:
  explicit MultilevelRoiAlignOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    using K = typename KernelType<T>::type;
    OpInputList features;
    OP_REQUIRES_OK(context, context->input_list("features", &features));
    const Tensor& boxes = context->input(attributes_.levels);
    OP_REQUIRES_OK(context, check_rank(boxes, 3, "boxes"));
    std::vector<View<const K, 4>> views;
    for (const Tensor& level : features) {
      OP_REQUIRES_OK(context, check_rank(level, 4, "features"));
      views.push_back(view_of<T, 4>(level));
    }
    const Shape<5> shape = {boxes.dim_size(0), boxes.dim_size(1), attributes_.output_size[0],
                            attributes_.output_size[1], features[0].dim_size(3)};
    OP_REQUIRES_OK(context, to_absl(check_result_size("output_size", {shape[0], shape[1], shape[2], shape[3], shape[4],
                                                                      int64_t{sizeof(T)}})));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape(shape), &output));
    const auto corners = view_of<float, 3>(boxes);
    const auto to = mutable_view_of<T, 5>(output);
    OP_REQUIRES_OK(context, run_on<Device>(
                                context,
                                [&](const ParallelFor& parallel_for) {
                                  return multilevel_roi_align<K>(views, corners, attributes_.options, to, parallel_for);
                                },
                                [&](const auto& cuda) {
                                  return multilevel_roi_align_cuda<K>(views, corners, attributes_.options, to, cuda);
                                }));
  }

 private:
  Attributes attributes_;
};

template <class T, class Device>
class MultilevelRoiAlignGradOp final : public NativeOp {
 public:
  explicit MultilevelRoiAlignGradOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    using K = typename KernelType<T>::type;
    const Tensor& gradient = context->input(0);
    const Tensor& boxes = context->input(1);
    OP_REQUIRES_OK(context, check_rank(gradient, 5, "output_gradient"));
    OP_REQUIRES_OK(context, check_rank(boxes, 3, "boxes"));
    for (const int axis : {2, 3}) {
      OP_REQUIRES(context, gradient.dim_size(axis) == attributes_.output_size[axis - 2],
                  to_absl(invalid_argument("output_gradient must have the rows and columns of output_size, got shape ",
                                           gradient.shape().DebugString())));
    }
    std::vector<Shape<4>> shapes(attributes_.levels);
    for (int level = 0; level < attributes_.levels; ++level) {
      OP_REQUIRES_OK(context, get_shape("features_shapes", context->input(2 + level), sizeof(T), &shapes[level]));
      // Before any of the gradients is allocated: a wrong shape may be of any size.
      OP_REQUIRES(context, shapes[level][0] == gradient.dim_size(0) && shapes[level][3] == gradient.dim_size(4),
                  to_absl(invalid_argument("features_shapes[", level, "] must have B = ", gradient.dim_size(0),
                                           " and C = ", gradient.dim_size(4), ", got ", to_string<4>(shapes[level]))));
    }
    std::vector<View<K, 4>> views;
    for (int level = 0; level < attributes_.levels; ++level) {
      Tensor* features_gradient = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(level, TensorShape(shapes[level]), &features_gradient));
      views.push_back(mutable_view_of<T, 4>(features_gradient));
    }
    const auto from = view_of<T, 5>(gradient);
    const auto corners = view_of<float, 3>(boxes);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context,
                       [&](const ParallelFor& parallel_for) {
                         return multilevel_roi_align_grad<K>(from, corners, attributes_.options, views, parallel_for);
                       },
                       [&](const auto& cuda) {
                         return multilevel_roi_align_grad_cuda<K>(from, corners, attributes_.options, views, cuda);
                       }));
  }

 private:
  Attributes attributes_;
};

#define KSEG_REGISTER(T)                                                                                             \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MultilevelRoiAlign").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
                          MultilevelRoiAlignOp<T, OnCpu>);                                                           \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MultilevelRoiAlignGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          MultilevelRoiAlignGradOp<T, OnCpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(double)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                         \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MultilevelRoiAlign").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"), \
                          MultilevelRoiAlignOp<T, OnGpu>);                                                       \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MultilevelRoiAlignGrad")                                                    \
                              .Device(tensorflow::DEVICE_GPU)                                                    \
                              .HostMemory("features_shapes")                                                     \
                              .TypeConstraint<T>("T"),                                                           \
                          MultilevelRoiAlignGradOp<T, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
