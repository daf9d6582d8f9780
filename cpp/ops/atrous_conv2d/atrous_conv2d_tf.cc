#include "ops/atrous_conv2d/atrous_conv2d.h"

#include <string>
#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/atrous_conv2d/atrous_conv2d_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

struct Attributes {
  ConvOptions options;
  Activation activation;
};

template <class Context>
absl::Status get_attributes(Context* context, Attributes* attributes) {
  std::string activation;
  TF_RETURN_IF_ERROR(context->GetAttr("activation", &activation));
  TF_RETURN_IF_ERROR(get_conv_options(context, &attributes->options));
  return to_absl(parse_activation(activation, "activation", &attributes->activation));
}

absl::Status infer_shape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(get_attributes(context, &attributes));
  ShapeHandle x, filters;
  DimensionHandle channels;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &x));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &filters));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(x, 3), context->Dim(filters, 2), &channels));
  DimensionHandle outputs = context->Dim(filters, 3);
  for (const int i : {2, 3}) {
    ShapeHandle vector;
    TF_RETURN_IF_ERROR(context->WithRank(context->input(i), 1, &vector));
    const DimensionHandle size = context->Dim(vector, 0);
    // None at all stands for ones or zeros.
    if (!context->ValueKnown(size) || context->Value(size) == 0) continue;
    TF_RETURN_IF_ERROR(context->Merge(outputs, size, &outputs));
  }
  std::array<DimensionHandle, 2> sizes;
  TF_RETURN_IF_ERROR(infer_conv_size(context, x, filters, attributes.options, &sizes));
  context->set_output(0, context->MakeShape({context->Dim(x, 0), sizes[0], sizes[1], outputs}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>AtrousConv2d")
    .Input("x: T")
    .Input("filters: T")
    .Input("scale: float")
    .Input("offset: float")
    .Output("output: T")
    .Attr("T: {float, half, bfloat16}")
    .Attr("rate: list(int)")
    .Attr("activation: string = 'linear'")
    .Attr("padding: string = 'same'")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
activation(dilated convolution of x [B, H, W, C] by filters [kh, kw, C, F], times scale [F], plus offset [F]);
an empty scale or offset stands for none.
)doc");

template <class T, class Device>
class AtrousConv2dOp final : public NativeOp {
 public:
  explicit AtrousConv2dOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    OP_REQUIRES_OK(context, check_rank(context->input(0), 4, "x"));
    OP_REQUIRES_OK(context, check_rank(context->input(1), 4, "filters"));
    OP_REQUIRES_OK(context, check_rank(context->input(2), 1, "scale"));
    OP_REQUIRES_OK(context, check_rank(context->input(3), 1, "offset"));
    AtrousConv2dArgs<typename KernelType<T>::type> args;
    args.x = view_of<T, 4>(context->input(0));
    args.filters = view_of<T, 4>(context->input(1));
    args.scale = view_of<float, 1>(context->input(2));
    args.offset = view_of<float, 1>(context->input(3));
    args.options = attributes_.options;
    args.activation = attributes_.activation;
    Shape<4> extents;
    OP_REQUIRES_OK(context, to_absl(atrous_conv2d_shape(args.x.shape, args.filters.shape, args.options, &extents)));
    for (const int i : {2, 3}) {
      const int64_t size = context->input(i).dim_size(0);
      OP_REQUIRES(context, size == extents[3] || size == 0,
                  to_absl(invalid_argument(i == 2 ? "scale" : "offset", " must have one entry per output channel, ",
                                           extents[3], ", or none, got ", size)));
    }
    TensorShape shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape(extents, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    args.output = mutable_view_of<T, 4>(output);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context, [&](const ParallelFor& parallel_for) { return atrous_conv2d(args, parallel_for); },
                       [&](const auto& cuda) { return atrous_conv2d_cuda(args, cuda); }));
  }

 private:
  Attributes attributes_;
};

#define KSEG_REGISTER(T)                                                                                   \
  REGISTER_KERNEL_BUILDER(Name("Kseg>AtrousConv2d").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          AtrousConv2dOp<T, OnCpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                   \
  REGISTER_KERNEL_BUILDER(Name("Kseg>AtrousConv2d").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"), \
                          AtrousConv2dOp<T, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
