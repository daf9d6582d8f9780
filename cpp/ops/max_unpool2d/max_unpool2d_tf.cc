#include "ops/max_unpool2d/max_unpool2d.h"

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/max_unpool2d/max_unpool2d_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle values, indices, size;
  DimensionHandle two;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &values));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &indices));
  TF_RETURN_IF_ERROR(context->Merge(values, indices, &values));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &size));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(size, 0), 2, &two));
  DimensionHandle height = context->UnknownDim();
  DimensionHandle width = context->UnknownDim();
  if (const Tensor* known = context->input_tensor(2)) {
    const auto sizes = known->vec<int32_t>();
    TF_RETURN_IF_ERROR(to_absl(check_max_unpool2d(sizes(0), sizes(1), 0, 0)));
    height = context->MakeDim(sizes(0));
    width = context->MakeDim(sizes(1));
  }
  context->set_output(0, context->MakeShape({context->Dim(values, 0), height, width, context->Dim(values, 3)}));
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  ShapeHandle gradient, indices;
  DimensionHandle batch, channels;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &gradient));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, &indices));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(gradient, 0), context->Dim(indices, 0), &batch));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(gradient, 3), context->Dim(indices, 3), &channels));
  context->set_output(0, context->MakeShape({batch, context->Dim(indices, 1), context->Dim(indices, 2), channels}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>MaxUnpool2d")
    .Input("y: T")
    .Input("indices: int32")
    .Input("output_size: int32")
    .Output("x: T")
    .Attr("T: {float, half, bfloat16, double}")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Puts values [B, h, w, C] where their indices y * W + x point in images of output_size (H, W); the rest is 0.
)doc");

REGISTER_OP("Kseg>MaxUnpool2dGrad")
    .Input("x_gradient: T")
    .Input("indices: int32")
    .Output("y_gradient: T")
    .Attr("T: {float, half, bfloat16, double}")
    .SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of MaxUnpool2d with respect to y; deterministic.
)doc");

// Views of the tensors as unsigned numbers of the element's size.
template <class Bits>
View<const Bits, 4> bits_of(const Tensor& tensor) {
  return {reinterpret_cast<const Bits*>(tensor.tensor_data().data()), shape_of<4>(tensor)};
}
template <class Bits>
View<Bits, 4> mutable_bits_of(Tensor* tensor) {
  return {reinterpret_cast<Bits*>(const_cast<char*>(tensor->tensor_data().data())), shape_of<4>(*tensor)};
}

template <class Bits, class Device>
class MaxUnpool2dOp final : public NativeOp {
 public:
  explicit MaxUnpool2dOp(OpKernelConstruction* context) : NativeOp(context) {}

  void compute(OpKernelContext* context) const override {
    const Tensor& values = context->input(0);
    const Tensor& indices = context->input(1);
    const Tensor& size = context->input(2);
    OP_REQUIRES_OK(context, check_rank(values, 4, "y"));
    OP_REQUIRES_OK(context, check_rank(indices, 4, "indices"));
    OP_REQUIRES_OK(context, check_rank(size, 1, "output_size"));
    OP_REQUIRES_OK(context, size.NumElements() == 2
                                ? absl::OkStatus()
                                : to_absl(invalid_argument("output_size must have 2 elements, height and width, got ",
                                                           size.NumElements())));
    const int64_t height = size.vec<int32_t>()(0), width = size.vec<int32_t>()(1);
    OP_REQUIRES_OK(context, to_absl(check_max_unpool2d(height, width, values.dim_size(0), values.dim_size(3))));
    OP_REQUIRES(context, values.shape() == indices.shape(),
                to_absl(invalid_argument("indices must have the shape of y, ", values.shape().DebugString(), ", got ",
                                         indices.shape().DebugString())));
    TensorShape shape;
    OP_REQUIRES_OK(context,
                   TensorShape::BuildTensorShape({values.dim_size(0), height, width, values.dim_size(3)}, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    const auto from = bits_of<Bits>(values);
    const auto places = view_of<int32_t, 4>(indices);
    const auto to = mutable_bits_of<Bits>(output);
    OP_REQUIRES_OK(
        context,
        run_on<Device>(
            context, [&](const ParallelFor& parallel_for) { return max_unpool2d(from, places, to, parallel_for); },
            [&](const auto& cuda) { return max_unpool2d_cuda(from, places, to, cuda); }));
  }
};

template <class Bits, class Device>
class MaxUnpool2dGradOp final : public NativeOp {
 public:
  explicit MaxUnpool2dGradOp(OpKernelConstruction* context) : NativeOp(context) {}

  void compute(OpKernelContext* context) const override {
    const Tensor& gradient = context->input(0);
    const Tensor& indices = context->input(1);
    OP_REQUIRES_OK(context, check_rank(gradient, 4, "x_gradient"));
    OP_REQUIRES_OK(context, check_rank(indices, 4, "indices"));
    Tensor* values_gradient = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, indices.shape(), &values_gradient));
    const auto from = bits_of<Bits>(gradient);
    const auto places = view_of<int32_t, 4>(indices);
    const auto to = mutable_bits_of<Bits>(values_gradient);
    OP_REQUIRES_OK(
        context,
        run_on<Device>(
            context, [&](const ParallelFor& parallel_for) { return max_unpool2d_grad(from, places, to, parallel_for); },
            [&](const auto& cuda) { return max_unpool2d_grad_cuda(from, places, to, cuda); }));
  }
};

#define KSEG_REGISTER(T, Bits)                                                                                \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MaxUnpool2d").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
                          MaxUnpool2dOp<Bits, OnCpu>);                                                        \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MaxUnpool2dGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          MaxUnpool2dGradOp<Bits, OnCpu>);
KSEG_REGISTER(float, uint32_t)
KSEG_REGISTER(double, uint64_t)
KSEG_REGISTER(Eigen::half, uint16_t)
KSEG_REGISTER(tensorflow::bfloat16, uint16_t)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T, Bits)                                                                                  \
  REGISTER_KERNEL_BUILDER(                                                                                      \
      Name("Kseg>MaxUnpool2d").Device(tensorflow::DEVICE_GPU).HostMemory("output_size").TypeConstraint<T>("T"), \
      MaxUnpool2dOp<Bits, OnGpu>);                                                                              \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MaxUnpool2dGrad").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"),   \
                          MaxUnpool2dGradOp<Bits, OnGpu>);
KSEG_REGISTER(float, uint32_t)
KSEG_REGISTER(Eigen::half, uint16_t)
KSEG_REGISTER(tensorflow::bfloat16, uint16_t)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
