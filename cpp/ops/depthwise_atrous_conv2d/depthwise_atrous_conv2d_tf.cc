#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d.h"

#include <string>
#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

absl::Status infer_output(InferenceContext* context, ShapeHandle x, ShapeHandle filters, ShapeHandle* output) {
  ConvOptions options;
  TF_RETURN_IF_ERROR(get_conv_options(context, &options));
  TF_RETURN_IF_ERROR(context->WithRank(x, 4, &x));
  TF_RETURN_IF_ERROR(context->WithRank(filters, 4, &filters));
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(x, 3), context->Dim(filters, 2), &channels));
  TF_RETURN_IF_ERROR(context->Multiply(channels, context->Dim(filters, 3), &channels));
  std::array<DimensionHandle, 2> sizes;
  TF_RETURN_IF_ERROR(infer_conv_size(context, x, filters, options, &sizes, "filters", kMaxDepthwiseKernel));
  *output = context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], channels});
  return absl::OkStatus();
}

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle output;
  TF_RETURN_IF_ERROR(infer_output(context, context->input(0), context->input(1), &output));
  context->set_output(0, output);
  return absl::OkStatus();
}

template <int like>
absl::Status infer_gradient_shape(InferenceContext* context) {
  ShapeHandle output, gradient;
  TF_RETURN_IF_ERROR(infer_output(context, context->input(0), context->input(1), &output));
  TF_RETURN_IF_ERROR(context->Merge(output, context->input(2), &gradient));
  context->set_output(0, context->input(like));
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES Attr("T: {float, half, bfloat16}").Attr("rate: list(int)").Attr("padding: string")

REGISTER_OP("Kseg>DepthwiseAtrousConv2d")
    .Input("x: T")
    .Input("filters: T")
    .Output("output: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Depthwise dilated convolution of x [B, H, W, C] with filters [kh, kw, C, m]: [B, h, w, C * m].
)doc");

REGISTER_OP("Kseg>DepthwiseAtrousConv2dInputGrad")
    .Input("x: T")
    .Input("filters: T")
    .Input("output_gradient: T")
    .Output("x_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape<0>)
    .Doc(R"doc(
The gradient of DepthwiseAtrousConv2d with respect to x, of which the shape alone is read; deterministic.
)doc");

REGISTER_OP("Kseg>DepthwiseAtrousConv2dFilterGrad")
    .Input("x: T")
    .Input("filters: T")
    .Input("output_gradient: T")
    .Output("filters_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape<1>)
    .Doc(R"doc(
The gradient of DepthwiseAtrousConv2d with respect to filters, of which the shape alone is read; deterministic.
)doc");

#undef KSEG_ATTRIBUTES

class DepthwiseOp : public NativeOp {
 public:
  explicit DepthwiseOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_conv_options(context, &options_));
  }

 protected:
  ConvOptions options_;
};

absl::Status check_ranks(OpKernelContext* context) {
  static constexpr const char* kNames[] = {"x", "filters", "output_gradient"};
  for (int index = 0; index < context->num_inputs(); ++index) {
    TF_RETURN_IF_ERROR(check_rank(context->input(index), 4, kNames[index]));
  }
  return absl::OkStatus();
}

template <class T, class Device>
class DepthwiseAtrousOp final : public DepthwiseOp {
 public:
  using DepthwiseOp::DepthwiseOp;

  void compute(OpKernelContext* context) const override {
    OP_REQUIRES_OK(context, check_ranks(context));
    const auto x = view_of<T, 4>(context->input(0)), filters = view_of<T, 4>(context->input(1));
    Shape<4> extents;
    OP_REQUIRES_OK(context, to_absl(depthwise_atrous_shape(x.shape, filters.shape, options_, &extents)));
    TensorShape shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape(extents, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    const auto to = mutable_view_of<T, 4>(output);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context,
                       [&](const ParallelFor& parallel_for) {
                         return depthwise_atrous_conv2d(x, filters, options_, to, parallel_for);
                       },
                       [&](const auto& cuda) { return depthwise_atrous_conv2d_cuda(x, filters, options_, to, cuda); }));
  }
};

template <class T, bool of_input, class Device>
class DepthwiseAtrousGradOp final : public DepthwiseOp {
 public:
  using DepthwiseOp::DepthwiseOp;

  void compute(OpKernelContext* context) const override {
    OP_REQUIRES_OK(context, check_ranks(context));
    const auto x = view_of<T, 4>(context->input(0)), filters = view_of<T, 4>(context->input(1));
    const auto gradient = view_of<T, 4>(context->input(2));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, context->input(of_input ? 0 : 1).shape(), &output));
    const auto to = mutable_view_of<T, 4>(output);
    OP_REQUIRES_OK(
        context, run_on<Device>(
                     context,
                     [&](const ParallelFor& parallel_for) {
                       return of_input
                                  ? depthwise_atrous_conv2d_input_grad(gradient, filters, options_, to, parallel_for)
                                  : depthwise_atrous_conv2d_filter_grad(x, gradient, options_, to, parallel_for);
                     },
                     [&](const auto& cuda) {
                       return of_input ? depthwise_atrous_conv2d_input_grad_cuda(gradient, filters, options_, to, cuda)
                                       : depthwise_atrous_conv2d_filter_grad_cuda(x, gradient, options_, to, cuda);
                     }));
  }
};

#define KSEG_REGISTER(T)                                                                                            \
  REGISTER_KERNEL_BUILDER(Name("Kseg>DepthwiseAtrousConv2d").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          DepthwiseAtrousOp<T, OnCpu>);                                                             \
  REGISTER_KERNEL_BUILDER(                                                                                          \
      Name("Kseg>DepthwiseAtrousConv2dInputGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),            \
      DepthwiseAtrousGradOp<T, true, OnCpu>);                                                                       \
  REGISTER_KERNEL_BUILDER(                                                                                          \
      Name("Kseg>DepthwiseAtrousConv2dFilterGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),           \
      DepthwiseAtrousGradOp<T, false, OnCpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                            \
  REGISTER_KERNEL_BUILDER(Name("Kseg>DepthwiseAtrousConv2d").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"), \
                          DepthwiseAtrousOp<T, OnGpu>);                                                             \
  REGISTER_KERNEL_BUILDER(                                                                                          \
      Name("Kseg>DepthwiseAtrousConv2dInputGrad").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"),            \
      DepthwiseAtrousGradOp<T, true, OnGpu>);                                                                       \
  REGISTER_KERNEL_BUILDER(                                                                                          \
      Name("Kseg>DepthwiseAtrousConv2dFilterGrad").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"),           \
      DepthwiseAtrousGradOp<T, false, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
