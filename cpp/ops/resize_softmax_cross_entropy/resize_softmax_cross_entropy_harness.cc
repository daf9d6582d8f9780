#include <vector>

#include "cuda_harness/harness.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_cuda.h"

namespace kseg {
namespace {

ResizeLabels labels_of(const HarnessCall& call, int64_t index) {
  const Shape<3> shape = call.array<const char, 3>(index).shape;
  const void* const data = call.data(index);
  switch (call.dtype(index)) {
    case Dtype::kUint8:
      return ResizeLabels::of(static_cast<const uint8_t*>(data), shape);
    case Dtype::kInt8:
      return ResizeLabels::of(static_cast<const int8_t*>(data), shape);
    case Dtype::kInt64:
      return ResizeLabels::of(static_cast<const int64_t*>(data), shape);
    default:
      return ResizeLabels::of(static_cast<const int32_t*>(data), shape);
  }
}

// has_ignore_index, ignore_index, label_smoothing, align_corners, class weights
struct Options {
  std::vector<float> class_weights;
  ResizeSoftmaxOptions options;

  explicit Options(const HarnessCall& call) {
    options.has_ignore_index = call.integer(0) != 0;
    options.ignore_index = call.integer(1);
    options.label_smoothing = static_cast<float>(call.number(2));
    options.align_corners = call.integer(3) != 0;
    for (int64_t i = 4; i < call.number_count(); ++i) class_weights.push_back(static_cast<float>(call.number(i)));
    options.class_weights = class_weights.data();
    options.class_weight_count = static_cast<int64_t>(class_weights.size());
  }
};

enum class Form { kLoss, kTraining, kDice };

template <class T>
Status run_loss(const HarnessCall& call, Form form) {
  const Options options(call);
  ResizeSoftmaxArgs<T> args;
  args.labels = labels_of(call, 0);
  args.logits = call.array<const T, 4>(1);
  args.options = options.options;
  args.dice = form == Form::kDice;
  if (args.dice) args.pixel_weights = call.array<const float, 3>(2);
  args.loss = call.array<float, 3>(args.dice ? 3 : 2);
  if (args.dice) args.sums = call.array<float, 3>(4);
  if (form == Form::kTraining) args.unit_gradient = call.array<T, 4>(3);
  return resize_softmax_cross_entropy_cuda(args, call.context());
}

template <class T>
Status run_gradient(const HarnessCall& call, Form form) {
  const Options options(call);
  ResizeSoftmaxGradArgs<T> args;
  args.labels = labels_of(call, 0);
  args.logits = call.array<const T, 4>(1);
  args.options = options.options;
  args.dice = form == Form::kDice;
  if (form == Form::kTraining) args.unit_gradient = call.array<const T, 4>(2);
  if (form == Form::kDice) args.pixel_weights = call.array<const float, 3>(2);
  args.loss_gradient = call.array<const float, 3>(form == Form::kLoss ? 2 : 3);
  if (form == Form::kDice) args.sums_gradient = call.array<const float, 3>(4);
  args.logits_gradient = call.array<T, 4>(form == Form::kLoss ? 3 : form == Form::kTraining ? 4 : 5);
  return resize_softmax_cross_entropy_grad_cuda(args, call.context());
}

template <Status (*run_float)(const HarnessCall&, Form), Status (*run_half)(const HarnessCall&, Form),
          Status (*run_bfloat16)(const HarnessCall&, Form)>
Status run(const HarnessCall& call, Form form) {
  if (call.dtype(1) == Dtype::kFloat32) return run_float(call, form);
  if (call.dtype(1) == Dtype::kFloat16) return run_half(call, form);
  return run_bfloat16(call, form);
}
constexpr auto kRunLoss = &run<&run_loss<float>, &run_loss<Half>, &run_loss<BFloat16>>;
constexpr auto kRunGradient = &run<&run_gradient<float>, &run_gradient<Half>, &run_gradient<BFloat16>>;

}  // namespace
}  // namespace kseg

// labels, logits -> loss
KSEG_HARNESS(resize_softmax_cross_entropy) { return kseg::kRunLoss(call, kseg::Form::kLoss); }
// labels, logits -> loss, unit_gradient
KSEG_HARNESS(resize_softmax_cross_entropy_training) { return kseg::kRunLoss(call, kseg::Form::kTraining); }
// labels, logits, pixel_weights -> loss, sums
KSEG_HARNESS(resize_softmax_cross_entropy_and_dice) { return kseg::kRunLoss(call, kseg::Form::kDice); }
// labels, logits, loss_gradient -> logits_gradient
KSEG_HARNESS(resize_softmax_cross_entropy_grad) { return kseg::kRunGradient(call, kseg::Form::kLoss); }
// labels, logits, unit_gradient, loss_gradient -> logits_gradient
KSEG_HARNESS(resize_softmax_cross_entropy_training_grad) { return kseg::kRunGradient(call, kseg::Form::kTraining); }
// labels, logits, pixel_weights, loss_gradient, sums_gradient -> logits_gradient
KSEG_HARNESS(resize_softmax_cross_entropy_and_dice_grad) { return kseg::kRunGradient(call, kseg::Form::kDice); }
