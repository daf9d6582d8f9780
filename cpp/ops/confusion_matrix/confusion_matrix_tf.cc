#include "ops/confusion_matrix/confusion_matrix.h"

#include <string>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/confusion_matrix/confusion_matrix_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

absl::Status infer_shape(InferenceContext* context) {
  int64_t classes;
  TF_RETURN_IF_ERROR(context->GetAttr("num_classes", &classes));
  TF_RETURN_IF_ERROR(to_absl(check_confusion_classes(classes)));
  tensorflow::DataType type;
  TF_RETURN_IF_ERROR(context->GetAttr("T", &type));
  ShapeHandle merged;
  if (!tensorflow::DataTypeIsFloating(type)) {
    TF_RETURN_IF_ERROR(context->Merge(context->input(0), context->input(1), &merged));
  } else {
    ShapeHandle logits;
    TF_RETURN_IF_ERROR(context->WithRankAtLeast(context->input(1), 1, &logits));
    if (context->RankKnown(logits)) {
      const DimensionHandle channels = context->Dim(logits, -1);
      const bool sigmoid = classes == 2 && context->ValueKnown(channels) && context->Value(channels) == 1;
      DimensionHandle fits;
      // With two classes an unknown extent may turn out to be 1 as well.
      if (!sigmoid && context->ValueKnown(channels)) {
        TF_RETURN_IF_ERROR(context->WithValue(channels, classes, &fits));
      }
      ShapeHandle pixels;
      TF_RETURN_IF_ERROR(context->Subshape(logits, 0, -1, &pixels));
      TF_RETURN_IF_ERROR(context->Merge(context->input(0), pixels, &merged));
    }
  }
  context->set_output(0, context->Matrix(classes, classes));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>ConfusionMatrix")
    .Input("labels: Tlabels")
    .Input("predictions: T")
    .Output("counts: int64")
    .Attr("Tlabels: {uint8, int8, uint16, int32, int64}")
    .Attr("T: {float, half, bfloat16, double, uint8, int8, uint16, int32, int64}")
    .Attr("num_classes: int >= 1")
    .Attr("ignore_index: int = 255")
    .Attr("has_ignore_index: bool = true")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Counts pairs of true and predicted class; the prediction is the argmax of logits or a class already.
)doc");

absl::Status input_of(const Tensor& tensor, ConfusionInput* input) {
  switch (tensor.dtype()) {
#define KSEG_INPUT(T)                                                                                            \
  case tensorflow::DataTypeToEnum<T>::value:                                                                     \
    *input = ConfusionInput::of(reinterpret_cast<const typename KernelType<T>::type*>(tensor.flat<T>().data())); \
    return absl::OkStatus();
    KSEG_INPUT(uint8_t)
    KSEG_INPUT(int8_t)
    KSEG_INPUT(uint16_t)
    KSEG_INPUT(int32_t)
    KSEG_INPUT(int64_t)
    KSEG_INPUT(Eigen::half)
    KSEG_INPUT(tensorflow::bfloat16)
    KSEG_INPUT(float)
    KSEG_INPUT(double)
#undef KSEG_INPUT
    default:
      return absl::InvalidArgumentError("unsupported type " + tensorflow::DataTypeString(tensor.dtype()));
  }
}

template <class Device>
class ConfusionMatrixOp final : public NativeOp {
 public:
  explicit ConfusionMatrixOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("num_classes", &num_classes_));
    OP_REQUIRES_OK(context, context->GetAttr("ignore_index", &ignore_index_));
    OP_REQUIRES_OK(context, context->GetAttr("has_ignore_index", &has_ignore_index_));
    OP_REQUIRES_OK(context, to_absl(check_confusion_classes(num_classes_)));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& labels = context->input(0);
    const Tensor& predictions = context->input(1);
    ConfusionMatrixArgs args;
    OP_REQUIRES_OK(context, input_of(labels, &args.labels));
    OP_REQUIRES_OK(context, input_of(predictions, &args.predictions));
    TensorShape pixels = predictions.shape();
    if (args.predictions.floating()) {
      OP_REQUIRES_OK(context, pixels.dims() > 0 ? absl::OkStatus()
                                                : absl::InvalidArgumentError(
                                                      "logits must have a last axis of classes, got a scalar"));
      args.channels = pixels.dim_size(pixels.dims() - 1);
      pixels.RemoveLastDims(1);
    }
    OP_REQUIRES_OK(context,
                   pixels == labels.shape()
                       ? absl::OkStatus()
                       : to_absl(invalid_argument(
                             args.predictions.floating() ? "logits without their last axis" : "integer predictions",
                             " must have the shape of labels, ", labels.shape().DebugString(), ", got ",
                             predictions.shape().DebugString())));
    Tensor* counts = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, {num_classes_, num_classes_}, &counts));
    args.pixels = labels.NumElements();
    args.has_ignore_index = has_ignore_index_;
    args.ignore_index = ignore_index_;
    args.counts = mutable_view_of<int64_t, 2>(counts);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context, [&](const ParallelFor& parallel_for) { return confusion_matrix(args, parallel_for); },
                       [&](const auto& cuda) { return confusion_matrix_cuda(args, cuda); }));
  }

 private:
  int64_t num_classes_ = 0;
  int64_t ignore_index_ = 0;
  bool has_ignore_index_ = false;
};

REGISTER_KERNEL_BUILDER(Name("Kseg>ConfusionMatrix").Device(tensorflow::DEVICE_CPU), ConfusionMatrixOp<OnCpu>);

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                      \
  REGISTER_KERNEL_BUILDER(Name("Kseg>ConfusionMatrix").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T"), \
                          ConfusionMatrixOp<OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
KSEG_REGISTER(uint8_t)
KSEG_REGISTER(int8_t)
KSEG_REGISTER(uint16_t)
KSEG_REGISTER(int32_t)
KSEG_REGISTER(int64_t)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
