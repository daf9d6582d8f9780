#include "ops/atrous_separable_conv2d/atrous_separable_conv2d.h"

#include <string>
#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

struct Attributes {
  ConvOptions options;
  Activation depthwise_activation;
  Activation activation;
};

template <class Context>
absl::Status get_attributes(Context* context, Attributes* attributes) {
  std::string depthwise_activation, activation;
  TF_RETURN_IF_ERROR(context->GetAttr("depthwise_activation", &depthwise_activation));
  TF_RETURN_IF_ERROR(context->GetAttr("activation", &activation));
  TF_RETURN_IF_ERROR(get_conv_options(context, &attributes->options));
  TF_RETURN_IF_ERROR(
      to_absl(parse_activation(depthwise_activation, "depthwise_activation", &attributes->depthwise_activation)));
  return to_absl(parse_activation(activation, "activation", &attributes->activation));
}

// One entry per channel, or none.
absl::Status check_affine(InferenceContext* context, int input, DimensionHandle channels) {
  ShapeHandle shape;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(input), 1, &shape));
  const DimensionHandle entries = context->Dim(shape, 0);
  if (!context->ValueKnown(entries) || context->Value(entries) == 0) return absl::OkStatus();
  DimensionHandle merged;
  return context->Merge(entries, channels, &merged);
}

absl::Status infer_shape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(get_attributes(context, &attributes));
  ShapeHandle x, depthwise, pointwise;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &depthwise));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 4, &pointwise));
  DimensionHandle one, channels;
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(pointwise, 0), 1, &one));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(pointwise, 1), 1, &one));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(x, 3), context->Dim(depthwise, 2), &channels));
  TF_RETURN_IF_ERROR(context->Multiply(channels, context->Dim(depthwise, 3), &channels));
  TF_RETURN_IF_ERROR(context->Merge(channels, context->Dim(pointwise, 2), &channels));
  const DimensionHandle filters = context->Dim(pointwise, 3);
  TF_RETURN_IF_ERROR(check_affine(context, 3, channels));
  TF_RETURN_IF_ERROR(check_affine(context, 4, channels));
  TF_RETURN_IF_ERROR(check_affine(context, 5, filters));
  TF_RETURN_IF_ERROR(check_affine(context, 6, filters));
  std::array<DimensionHandle, 2> sizes;
  TF_RETURN_IF_ERROR(
      infer_conv_size(context, x, depthwise, attributes.options, &sizes, "depthwise", kMaxDepthwiseKernel));
  context->set_output(0, context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], filters}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>AtrousSeparableConv2d")
    .Input("x: T")
    .Input("depthwise: T")
    .Input("pointwise: T")
    .Input("depthwise_scale: float")
    .Input("depthwise_offset: float")
    .Input("scale: float")
    .Input("offset: float")
    .Output("output: T")
    .Attr("T: {float, half, bfloat16}")
    .Attr("rate: list(int)")
    .Attr("padding: string")
    .Attr("depthwise_activation: string = ''")
    .Attr("activation: string = ''")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Depthwise dilated convolution of x [B, H, W, C] with depthwise [kh, kw, C, m], then the pointwise convolution with
pointwise [1, 1, C * m, F], each followed by an affine map and an activation: [B, h, w, F]. A scale or offset without
elements stands for ones or zeros.
)doc");

template <class T, class Device>
class AtrousSeparableOp final : public NativeOp {
 public:
  explicit AtrousSeparableOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    static constexpr const char* kNames[] = {"x",     "depthwise", "pointwise", "depthwise_scale", "depthwise_offset",
                                             "scale", "offset"};
    for (int index = 0; index < 7; ++index) {
      OP_REQUIRES_OK(context, check_rank(context->input(index), index < 3 ? 4 : 1, kNames[index]));
    }
    const auto x = view_of<T, 4>(context->input(0));
    SeparableFilters<typename KernelType<T>::type> filters;
    filters.depthwise = view_of<T, 4>(context->input(1));
    filters.pointwise = view_of<T, 4>(context->input(2));
    filters.depthwise_scale = view_of<float, 1>(context->input(3));
    filters.depthwise_offset = view_of<float, 1>(context->input(4));
    filters.scale = view_of<float, 1>(context->input(5));
    filters.offset = view_of<float, 1>(context->input(6));
    filters.depthwise_activation = attributes_.depthwise_activation;
    filters.activation = attributes_.activation;
    Shape<4> extents;
    OP_REQUIRES_OK(context, to_absl(atrous_separable_shape(x.shape, filters, attributes_.options, &extents)));
    TensorShape shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape(extents, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    const auto to = mutable_view_of<T, 4>(output);
    OP_REQUIRES_OK(context, run_on<Device>(
                                context,
                                [&](const ParallelFor& parallel_for) {
                                  return atrous_separable_conv2d(x, filters, attributes_.options, to, parallel_for);
                                },
                                [&](const auto& cuda) {
                                  return atrous_separable_conv2d_cuda(x, filters, attributes_.options, to, cuda);
                                }));
  }

 private:
  Attributes attributes_;
};

#define KSEG_REGISTER(T)                                                                                            \
  REGISTER_KERNEL_BUILDER(Name("Kseg>AtrousSeparableConv2d").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          AtrousSeparableOp<T, OnCpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                            \
  REGISTER_KERNEL_BUILDER(Name("Kseg>AtrousSeparableConv2d").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"), \
                          AtrousSeparableOp<T, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
