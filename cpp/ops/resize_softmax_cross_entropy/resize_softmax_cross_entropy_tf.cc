#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"

#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

struct Attributes {
  std::vector<float> class_weights;
  ResizeSoftmaxOptions options;
};

template <class Context>
absl::Status get_attributes(Context* context, int64_t channels, Attributes* attributes) {
  ResizeSoftmaxOptions& options = attributes->options;
  TF_RETURN_IF_ERROR(context->GetAttr("has_ignore_index", &options.has_ignore_index));
  TF_RETURN_IF_ERROR(context->GetAttr("ignore_index", &options.ignore_index));
  TF_RETURN_IF_ERROR(context->GetAttr("class_weights", &attributes->class_weights));
  TF_RETURN_IF_ERROR(context->GetAttr("label_smoothing", &options.label_smoothing));
  TF_RETURN_IF_ERROR(context->GetAttr("align_corners", &options.align_corners));
  options.class_weights = attributes->class_weights.data();
  options.class_weight_count = static_cast<int64_t>(attributes->class_weights.size());
  return to_absl(check_resize_softmax(options, channels));
}

// Labels and logits agree on the batch; what is known of either goes into both.
absl::Status infer_inputs(InferenceContext* context, ShapeHandle* labels, ShapeHandle* logits) {
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, labels));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 4, logits));
  DimensionHandle batch;
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(*labels, 0), context->Dim(*logits, 0), &batch));
  TF_RETURN_IF_ERROR(context->ReplaceDim(*labels, 0, batch, labels));
  TF_RETURN_IF_ERROR(context->ReplaceDim(*logits, 0, batch, logits));
  const DimensionHandle channels = context->Dim(*logits, 3);
  Attributes attributes;
  return get_attributes(context, context->ValueKnown(channels) ? context->Value(channels) : -1, &attributes);
}

ShapeHandle sums_shape(InferenceContext* context, ShapeHandle logits) {
  const DimensionHandle channels = context->Dim(logits, 3);
  const DimensionHandle classes = context->ValueKnown(channels)
                                      ? context->MakeDim(resize_softmax_classes(context->Value(channels)))
                                      : context->UnknownDim();
  return context->MakeShape({context->Dim(logits, 0), context->MakeDim(kDiceSums), classes});
}

absl::Status infer_shape(InferenceContext* context) {
  ShapeHandle labels, logits;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  context->set_output(0, labels);
  if (context->num_inputs() < 3) return absl::OkStatus();
  ShapeHandle weights;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 3, &weights));
  context->set_output(1, sums_shape(context, logits));
  return absl::OkStatus();
}

// The unit gradient, too.
absl::Status infer_training_shape(InferenceContext* context) {
  ShapeHandle labels, logits;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  context->set_output(0, labels);
  context->set_output(1, logits);
  return absl::OkStatus();
}

absl::Status infer_training_gradient_shape(InferenceContext* context) {
  ShapeHandle labels, logits, given;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  TF_RETURN_IF_ERROR(context->Merge(context->input(2), logits, &given));
  TF_RETURN_IF_ERROR(context->Merge(context->input(3), labels, &given));
  context->set_output(0, logits);
  return absl::OkStatus();
}

absl::Status infer_gradient_shape(InferenceContext* context) {
  ShapeHandle labels, logits, given;
  TF_RETURN_IF_ERROR(infer_inputs(context, &labels, &logits));
  const bool dice = context->num_inputs() > 3;
  TF_RETURN_IF_ERROR(context->Merge(context->input(dice ? 3 : 2), labels, &given));
  if (dice) {
    TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 3, &given));
    TF_RETURN_IF_ERROR(context->Merge(context->input(4), sums_shape(context, logits), &given));
  }
  context->set_output(0, logits);
  return absl::OkStatus();
}

#define KSEG_ATTRIBUTES_OF(types)                      \
  Attr("Tlabels: {uint8, int8, uint16, int32, int64}") \
      .Attr("T: " types)                               \
      .Attr("has_ignore_index: bool = true")           \
      .Attr("ignore_index: int = 255")                 \
      .Attr("class_weights: list(float) = []")         \
      .Attr("label_smoothing: float = 0.0")            \
      .Attr("align_corners: bool = false")
#define KSEG_ATTRIBUTES KSEG_ATTRIBUTES_OF("{float, half, bfloat16}")

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropy")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Output("loss: float")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
Softmax cross-entropy [B, H, W] of labels [B, H, W] and logits [B, h, w, C] resized bilinearly to their size.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyGrad")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("loss_gradient: float")
    .Output("logits_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of ResizeSoftmaxCrossEntropy with respect to its logits; deterministic.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyTraining")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Output("loss: float")
    .Output("unit_gradient: T")
    .KSEG_ATTRIBUTES_OF("{float} = DT_FLOAT")
    .SetShapeFn(infer_training_shape)
    .Doc(R"doc(
ResizeSoftmaxCrossEntropy, and the gradient of its sum with respect to the logits in the same sweep. A graph that does
not use the second output does not compute it.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyTrainingGrad")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("unit_gradient: T")
    .Input("loss_gradient: float")
    .Output("logits_gradient: T")
    .KSEG_ATTRIBUTES_OF("{float} = DT_FLOAT")
    .SetShapeFn(infer_training_gradient_shape)
    .Doc(R"doc(
The gradient of the loss of ResizeSoftmaxCrossEntropyTraining: the unit gradient times a number where loss_gradient is
the same at all pixels of an image, else as ResizeSoftmaxCrossEntropyGrad.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyAndDice")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("pixel_weights: float")
    .Output("loss: float")
    .Output("sums: float")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_shape)
    .Doc(R"doc(
ResizeSoftmaxCrossEntropy, and per image and class the sums of the Dice loss: overlap, predicted and labelled.
)doc");

REGISTER_OP("Kseg>ResizeSoftmaxCrossEntropyAndDiceGrad")
    .Input("labels: Tlabels")
    .Input("logits: T")
    .Input("pixel_weights: float")
    .Input("loss_gradient: float")
    .Input("sums_gradient: float")
    .Output("logits_gradient: T")
    .KSEG_ATTRIBUTES.SetShapeFn(infer_gradient_shape)
    .Doc(R"doc(
The gradient of ResizeSoftmaxCrossEntropyAndDice with respect to its logits; deterministic.
)doc");

#undef KSEG_ATTRIBUTES
#undef KSEG_ATTRIBUTES_OF

absl::Status labels_of(const Tensor& tensor, ResizeLabels* labels) {
  TF_RETURN_IF_ERROR(check_rank(tensor, 3, "labels"));
  const Shape<3> shape = shape_of<3>(tensor);
  switch (tensor.dtype()) {
#define KSEG_LABELS(L)                                          \
  case tensorflow::DataTypeToEnum<L>::value:                    \
    *labels = ResizeLabels::of(tensor.flat<L>().data(), shape); \
    return absl::OkStatus();
    KSEG_LABELS(uint8_t)
    KSEG_LABELS(int8_t)
    KSEG_LABELS(uint16_t)
    KSEG_LABELS(int32_t)
    KSEG_LABELS(int64_t)
#undef KSEG_LABELS
    default:
      return absl::InvalidArgumentError("labels have the unsupported type " +
                                        tensorflow::DataTypeString(tensor.dtype()));
  }
}

// Fills what both directions have in common, and checks it before anything is allocated.
template <class T, class Args>
absl::Status fill_args(OpKernelContext* context, const ResizeSoftmaxOptions& options, bool dice, Args* args) {
  TF_RETURN_IF_ERROR(labels_of(context->input(0), &args->labels));
  TF_RETURN_IF_ERROR(check_rank(context->input(1), 4, "logits"));
  args->logits = view_of<T, 4>(context->input(1));
  args->options = options;
  args->dice = dice;
  if (dice) {
    TF_RETURN_IF_ERROR(check_rank(context->input(2), 3, "pixel_weights"));
    args->pixel_weights = view_of<float, 3>(context->input(2));
  }
  return to_absl(check_resize_softmax_arrays(args->labels.shape, args->logits.shape, options,
                                             dice ? &args->pixel_weights.shape : nullptr));
}

template <class T, bool kDice, class Device>
class ResizeSoftmaxOp final : public NativeOp {
 public:
  explicit ResizeSoftmaxOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, -1, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    ResizeSoftmaxArgs<typename KernelType<T>::type> args;
    OP_REQUIRES_OK(context, fill_args<T>(context, attributes_.options, kDice, &args));
    Tensor* loss = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, context->input(0).shape(), &loss));
    args.loss = mutable_view_of<float, 3>(loss);
    if (kDice) {
      Tensor* sums = nullptr;
      OP_REQUIRES_OK(context,
                     context->allocate_output(
                         1, {args.logits.shape[0], kDiceSums, resize_softmax_classes(args.logits.shape[3])}, &sums));
      args.sums = mutable_view_of<float, 3>(sums);
    }
    OP_REQUIRES_OK(
        context,
        run_on<Device>(
            context, [&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy(args, parallel_for); },
            [&](const auto& cuda) { return resize_softmax_cross_entropy_cuda(args, cuda); }));
  }

 private:
  Attributes attributes_;
};

template <class T, bool kDice, class Device>
class ResizeSoftmaxGradOp final : public NativeOp {
 public:
  explicit ResizeSoftmaxGradOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, -1, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    ResizeSoftmaxGradArgs<typename KernelType<T>::type> args;
    OP_REQUIRES_OK(context, fill_args<T>(context, attributes_.options, kDice, &args));
    const Tensor& loss_gradient = context->input(kDice ? 3 : 2);
    OP_REQUIRES_OK(context, check_rank(loss_gradient, 3, "loss_gradient"));
    args.loss_gradient = view_of<float, 3>(loss_gradient);
    if (kDice) {
      OP_REQUIRES_OK(context, check_rank(context->input(4), 3, "sums_gradient"));
      args.sums_gradient = view_of<float, 3>(context->input(4));
    }
    Tensor* logits_gradient = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, context->input(1).shape(), &logits_gradient));
    args.logits_gradient = mutable_view_of<T, 4>(logits_gradient);
    OP_REQUIRES_OK(context, run_on<Device>(
                                context,
                                [&](const ParallelFor& parallel_for) {
                                  return resize_softmax_cross_entropy_grad(args, parallel_for);
                                },
                                [&](const auto& cuda) { return resize_softmax_cross_entropy_grad_cuda(args, cuda); }));
  }

 private:
  Attributes attributes_;
};

template <class Device>
class ResizeSoftmaxTrainingOp final : public NativeOp {
 public:
  explicit ResizeSoftmaxTrainingOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, -1, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    ResizeSoftmaxArgs<float> args;
    OP_REQUIRES_OK(context, fill_args<float>(context, attributes_.options, false, &args));
    Tensor* loss = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, context->input(0).shape(), &loss));
    args.loss = mutable_view_of<float, 3>(loss);
    if (context->output_required(1)) {
      Tensor* unit_gradient = nullptr;
      OP_REQUIRES_OK(context, context->allocate_output(1, context->input(1).shape(), &unit_gradient));
      args.unit_gradient = mutable_view_of<float, 4>(unit_gradient);
    }
    OP_REQUIRES_OK(
        context,
        run_on<Device>(
            context, [&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy(args, parallel_for); },
            [&](const auto& cuda) { return resize_softmax_cross_entropy_cuda(args, cuda); }));
  }

 private:
  Attributes attributes_;
};

template <class Device>
class ResizeSoftmaxTrainingGradOp final : public NativeOp {
 public:
  explicit ResizeSoftmaxTrainingGradOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, -1, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    ResizeSoftmaxGradArgs<float> args;
    OP_REQUIRES_OK(context, fill_args<float>(context, attributes_.options, false, &args));
    OP_REQUIRES_OK(context, check_rank(context->input(2), 4, "unit_gradient"));
    args.unit_gradient = view_of<float, 4>(context->input(2));
    OP_REQUIRES_OK(context, check_rank(context->input(3), 3, "loss_gradient"));
    args.loss_gradient = view_of<float, 3>(context->input(3));
    Tensor* logits_gradient = nullptr;
    OP_REQUIRES_OK(context,
                   context->forward_input_or_allocate_output({2}, 0, context->input(1).shape(), &logits_gradient));
    args.logits_gradient = mutable_view_of<float, 4>(logits_gradient);
    OP_REQUIRES_OK(context, run_on<Device>(
                                context,
                                [&](const ParallelFor& parallel_for) {
                                  return resize_softmax_cross_entropy_grad(args, parallel_for);
                                },
                                [&](const auto& cuda) { return resize_softmax_cross_entropy_grad_cuda(args, cuda); }));
  }

 private:
  Attributes attributes_;
};

#define KSEG_REGISTER_ONE(name, device, T, ...) \
  REGISTER_KERNEL_BUILDER(Name(name).Device(tensorflow::device).TypeConstraint<T>("T"), __VA_ARGS__);
#define KSEG_REGISTER(device, On, T)                                                                    \
  KSEG_REGISTER_ONE("Kseg>ResizeSoftmaxCrossEntropy", device, T, ResizeSoftmaxOp<T, false, On>)         \
  KSEG_REGISTER_ONE("Kseg>ResizeSoftmaxCrossEntropyGrad", device, T, ResizeSoftmaxGradOp<T, false, On>) \
  KSEG_REGISTER_ONE("Kseg>ResizeSoftmaxCrossEntropyAndDice", device, T, ResizeSoftmaxOp<T, true, On>)   \
  KSEG_REGISTER_ONE("Kseg>ResizeSoftmaxCrossEntropyAndDiceGrad", device, T, ResizeSoftmaxGradOp<T, true, On>)
#define KSEG_REGISTER_ALL(device, On)                                                                     \
  KSEG_REGISTER(device, On, float)                                                                        \
  KSEG_REGISTER(device, On, Eigen::half)                                                                  \
  KSEG_REGISTER(device, On, tensorflow::bfloat16)                                                         \
  KSEG_REGISTER_ONE("Kseg>ResizeSoftmaxCrossEntropyTraining", device, float, ResizeSoftmaxTrainingOp<On>) \
  KSEG_REGISTER_ONE("Kseg>ResizeSoftmaxCrossEntropyTrainingGrad", device, float, ResizeSoftmaxTrainingGradOp<On>)
KSEG_REGISTER_ALL(DEVICE_CPU, OnCpu)
#if KSEG_CUDA
KSEG_REGISTER_ALL(DEVICE_GPU, OnGpu)
#endif
#undef KSEG_REGISTER_ALL
#undef KSEG_REGISTER
#undef KSEG_REGISTER_ONE

}  // namespace
}  // namespace kseg
