#include "ops/max_pool_with_indices/max_pool_with_indices.h"

#include <algorithm>
#include <string>
#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/max_pool_with_indices/max_pool_with_indices_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

template <class Context>
absl::Status get_windows(Context* context, PoolWindows* windows) {
  std::vector<int64_t> pool, strides;
  std::string padding;
  TF_RETURN_IF_ERROR(context->GetAttr("pool_size", &pool));
  TF_RETURN_IF_ERROR(context->GetAttr("strides", &strides));
  TF_RETURN_IF_ERROR(context->GetAttr("padding", &padding));
  if (pool.size() != 2 || strides.size() != 2) {
    return to_absl(
        invalid_argument("pool_size and strides must have two entries, got ", pool.size(), " and ", strides.size()));
  }
  TF_RETURN_IF_ERROR(to_absl(check_pool(pool[0], pool[1], strides[0], strides[1])));
  windows->rows = {pool[0], strides[0], padding == "same"};
  windows->columns = {pool[1], strides[1], padding == "same"};
  return absl::OkStatus();
}

DimensionHandle outputs(InferenceContext* context, const PoolAxis& axis, DimensionHandle size) {
  if (!context->ValueKnown(size)) return context->UnknownDim();
  return context->MakeDim(axis.outputs(context->Value(size)));
}

absl::Status infer_pooled(InferenceContext* context, ShapeHandle images, ShapeHandle* pooled) {
  PoolWindows windows;
  TF_RETURN_IF_ERROR(get_windows(context, &windows));
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

template <class T, class Device>
class MaxPoolWithIndicesOp final : public NativeOp {
 public:
  explicit MaxPoolWithIndicesOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_windows(context, &windows_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& x = context->input(0);
    OP_REQUIRES_OK(context, check_rank(x, 4, "x"));
    OP_REQUIRES_OK(context, to_absl(check_pool_image(shape_of<4>(x), "x")));
    TensorShape shape;
    OP_REQUIRES_OK(context, TensorShape::BuildTensorShape({x.dim_size(0), windows_.rows.outputs(x.dim_size(1)),
                                                           windows_.columns.outputs(x.dim_size(2)), x.dim_size(3)},
                                                          &shape));
    Tensor *y = nullptr, *indices = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &y));
    OP_REQUIRES_OK(context, context->allocate_output(1, shape, &indices));
    const auto from = view_of<T, 4>(x);
    const auto to = mutable_view_of<T, 4>(y);
    const auto places = mutable_view_of<int32_t, 4>(indices);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context,
                       [&](const ParallelFor& parallel_for) {
                         return max_pool_with_indices(from, windows_, to, places, parallel_for);
                       },
                       [&](const auto& cuda) { return max_pool_with_indices_cuda(from, windows_, to, places, cuda); }));
  }

 private:
  PoolWindows windows_;
};

template <class T, class Device>
class MaxPoolWithIndicesGradOp final : public NativeOp {
 public:
  explicit MaxPoolWithIndicesGradOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_windows(context, &windows_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& gradient = context->input(0);
    const Tensor& indices = context->input(1);
    const Tensor& shape_tensor = context->input(2);
    OP_REQUIRES_OK(context, check_rank(gradient, 4, "y_gradient"));
    OP_REQUIRES_OK(context, check_rank(indices, 4, "indices"));
    OP_REQUIRES_OK(context, check_rank(shape_tensor, 1, "x_shape"));
    OP_REQUIRES(context, shape_tensor.NumElements() == 4,
                to_absl(invalid_argument("x_shape must have four entries, got ", shape_tensor.NumElements())));
    Shape<4> images;
    for (int axis = 0; axis < 4; ++axis) {
      images[axis] = shape_tensor.dtype() == tensorflow::DT_INT32 ? shape_tensor.vec<int32_t>()(axis)
                                                                  : shape_tensor.vec<int64_t>()(axis);
    }
    OP_REQUIRES(context, *std::min_element(images.begin(), images.end()) >= 0,
                to_absl(invalid_argument("x_shape must not be negative, got ", to_string<4>(images))));
    OP_REQUIRES_OK(context, to_absl(check_pool_image(images, "x_shape")));
    // Before memory is taken: the images cannot be larger than what their windows reach.
    const Shape<4> pooled = {images[0], windows_.rows.outputs(images[1]), windows_.columns.outputs(images[2]),
                             images[3]};
    OP_REQUIRES(context, shape_of<4>(gradient) == pooled && shape_of<4>(indices) == pooled,
                to_absl(invalid_argument("y_gradient and indices must have shape ", to_string<4>(pooled),
                                         " for x_shape ", to_string<4>(images), ", got ",
                                         gradient.shape().DebugString(), " and ", indices.shape().DebugString())));
    TensorShape shape;
    OP_REQUIRES(context, TensorShape::BuildTensorShape(images, &shape).ok(),
                to_absl(invalid_argument("x_shape must have fewer than 2**63 elements, got ", to_string<4>(images))));
    Tensor* x_gradient = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &x_gradient));
    const auto from = view_of<T, 4>(gradient);
    const auto places = view_of<int32_t, 4>(indices);
    const auto to = mutable_view_of<T, 4>(x_gradient);
    OP_REQUIRES_OK(context, run_on<Device>(
                                context,
                                [&](const ParallelFor& parallel_for) {
                                  return max_pool_with_indices_grad(from, places, windows_, to, parallel_for);
                                },
                                [&](const auto& cuda) {
                                  return max_pool_with_indices_grad_cuda(from, places, windows_, to, cuda);
                                }));
  }

 private:
  PoolWindows windows_;
};

#define KSEG_REGISTER(T)                                                                                             \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MaxPoolWithIndices").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"),     \
                          MaxPoolWithIndicesOp<T, OnCpu>);                                                           \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MaxPoolWithIndicesGrad").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          MaxPoolWithIndicesGradOp<T, OnCpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(double)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                               \
  REGISTER_KERNEL_BUILDER(Name("Kseg>MaxPoolWithIndices").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"),       \
                          MaxPoolWithIndicesOp<T, OnGpu>);                                                             \
  REGISTER_KERNEL_BUILDER(                                                                                             \
      Name("Kseg>MaxPoolWithIndicesGrad").Device(tensorflow::DEVICE_GPU).HostMemory("x_shape").TypeConstraint<T>("T"), \
      MaxPoolWithIndicesGradOp<T, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
