#include "ops/resize_argmax/resize_argmax.h"

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "base/result_size.h"
#include "ops/resize_argmax/resize_argmax_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

absl::Status check_size(int64_t height, int64_t width) {
  if (height >= 1 && width >= 1) return absl::OkStatus();
  return to_absl(invalid_argument("size must be at least 1 x 1, got ", height, " x ", width));
}

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle logits, size;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &logits));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 1, &size));
  DimensionHandle two;
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(size, 0), 2, &two));
  DimensionHandle height = context->UnknownDim();
  DimensionHandle width = context->UnknownDim();
  if (const Tensor* known = context->input_tensor(1)) {
    const auto values = known->vec<int32_t>();
    TF_RETURN_IF_ERROR(check_size(values(0), values(1)));
    height = context->MakeDim(values(0));
    width = context->MakeDim(values(1));
  }
  context->set_output(0, context->MakeShape({context->Dim(logits, 0), height, width}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>ResizeArgmax")
    .Input("logits: T")
    .Input("size: int32")
    .Output("classes: int32")
    .Attr("T: {float, half, bfloat16, double}")
    .Attr("align_corners: bool = false")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
The argmax over the last axis of bilinearly resized logits [batch, height, width, classes].
)doc");

template <class T, class Device>
class ResizeArgmaxOp final : public NativeOp {
 public:
  explicit ResizeArgmaxOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("align_corners", &align_corners_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& logits = context->input(0);
    const Tensor& size = context->input(1);
    OP_REQUIRES_OK(context, check_rank(logits, 4, "logits"));
    OP_REQUIRES_OK(context, check_rank(size, 1, "size"));
    OP_REQUIRES_OK(context, size.NumElements() == 2
                                ? absl::OkStatus()
                                : to_absl(invalid_argument("size must have 2 elements, height and width, got ",
                                                           size.NumElements())));
    const int64_t height = size.vec<int32_t>()(0);
    const int64_t width = size.vec<int32_t>()(1);
    OP_REQUIRES_OK(context, check_size(height, width));
    const int64_t batch = logits.dim_size(0);
    OP_REQUIRES_OK(context, to_absl(check_result_size("size", {batch, height, width, sizeof(int32_t)})));
    Tensor* classes = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({batch, height, width}), &classes));
    ResizeArgmaxArgs<typename KernelType<T>::type> args;
    args.logits = view_of<T, 4>(logits);
    args.classes = mutable_view_of<int32_t, 3>(classes);
    args.align_corners = align_corners_;
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context, [&](const ParallelFor& parallel_for) { return resize_argmax(args, parallel_for); },
                       [&](const auto& cuda) { return resize_argmax_cuda(args, cuda); }));
  }

 private:
  bool align_corners_ = false;
};

#define KSEG_REGISTER(T)                                                                                   \
  REGISTER_KERNEL_BUILDER(Name("Kseg>ResizeArgmax").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), \
                          ResizeArgmaxOp<T, OnCpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
KSEG_REGISTER(double)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                  \
  REGISTER_KERNEL_BUILDER(                                                                                \
      Name("Kseg>ResizeArgmax").Device(tensorflow::DEVICE_GPU).HostMemory("size").TypeConstraint<T>("T"), \
      ResizeArgmaxOp<T, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
