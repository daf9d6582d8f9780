// What the ops of ResizeSoftmaxCrossEntropy check and run, whichever framework calls.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CALL_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CALL_H_

#include <vector>

#include "base/op_call.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_cuda.h"

namespace kseg {

class ResizeSoftmaxAttributes {
 public:
  Status read(const OpAttributes& attributes) { return read(attributes, -1); }

  // `channels` may be -1 for unknown.
  Status read(const OpAttributes& attributes, int64_t channels) {
    KSEG_RETURN_IF_ERROR(attributes.get("has_ignore_index", &options_.has_ignore_index));
    KSEG_RETURN_IF_ERROR(attributes.get("ignore_index", &options_.ignore_index));
    KSEG_RETURN_IF_ERROR(attributes.get("class_weights", &class_weights_));
    KSEG_RETURN_IF_ERROR(attributes.get("label_smoothing", &options_.label_smoothing));
    KSEG_RETURN_IF_ERROR(attributes.get("align_corners", &options_.align_corners));
    return check_resize_softmax(options(), channels);
  }

  ResizeSoftmaxOptions options() const {
    ResizeSoftmaxOptions options = options_;
    options.class_weights = class_weights_.data();
    options.class_weight_count = static_cast<int64_t>(class_weights_.size());
    return options;
  }

 protected:
  // Fills what both directions have in common, and checks it before anything is allocated.
  template <class Args>
  Status fill(const OpCall& call, bool dice, Args* args) const {
    const Array labels = call.input(0);
    KSEG_RETURN_IF_ERROR((visit_type<uint8_t, int8_t, uint16_t, int32_t, int64_t>(labels.type, "labels", [&](auto tag) {
      View<const typename decltype(tag)::type, 3> view;
      KSEG_RETURN_IF_ERROR(call.input(0, "labels", &view));
      args->labels = ResizeLabels::of(view.data, view.shape);
      return Status();
    })));
    KSEG_RETURN_IF_ERROR(call.input(1, "logits", &args->logits));
    args->options = options();
    args->dice = dice;
    if (dice) KSEG_RETURN_IF_ERROR(call.input(2, "pixel_weights", &args->pixel_weights));
    return check_resize_softmax_arrays(args->labels.shape, args->logits.shape, args->options,
                                       dice ? &args->pixel_weights.shape : nullptr);
  }

 private:
  std::vector<float> class_weights_;
  ResizeSoftmaxOptions options_;
};

template <bool dice>
class ResizeSoftmaxOp : public ResizeSoftmaxAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(1).type, "logits", [&](auto tag) {
      using T = typename decltype(tag)::type;
      ResizeSoftmaxArgs<T> args;
      KSEG_RETURN_IF_ERROR(fill(call, dice, &args));
      KSEG_RETURN_IF_ERROR(call.output(0, args.labels.shape, &args.loss));
      if (dice) {
        const Shape<3> sums = {args.logits.shape[0], kDiceSums, resize_softmax_classes(args.logits.shape[3])};
        KSEG_RETURN_IF_ERROR(call.output(1, sums, &args.sums));
      }
      return run_on_device<T>(
          call, [&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy(args, parallel_for); },
          [&](const auto& cuda) { return resize_softmax_cross_entropy_cuda(args, cuda); });
    });
  }
};

template <bool dice>
class ResizeSoftmaxGradOp : public ResizeSoftmaxAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(1).type, "logits", [&](auto tag) {
      using T = typename decltype(tag)::type;
      ResizeSoftmaxGradArgs<T> args;
      KSEG_RETURN_IF_ERROR(fill(call, dice, &args));
      KSEG_RETURN_IF_ERROR(call.input(dice ? 3 : 2, "loss_gradient", &args.loss_gradient));
      if (dice) KSEG_RETURN_IF_ERROR(call.input(4, "sums_gradient", &args.sums_gradient));
      KSEG_RETURN_IF_ERROR(call.output(0, args.logits.shape, &args.logits_gradient));
      return run_on_device<T>(
          call, [&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy_grad(args, parallel_for); },
          [&](const auto& cuda) { return resize_softmax_cross_entropy_grad_cuda(args, cuda); });
    });
  }
};

class ResizeSoftmaxTrainingOp : public ResizeSoftmaxAttributes {
 public:
  Status run(OpCall& call) const {
    ResizeSoftmaxArgs<float> args;
    KSEG_RETURN_IF_ERROR(fill(call, false, &args));
    KSEG_RETURN_IF_ERROR(call.output(0, args.labels.shape, &args.loss));
    if (call.wants_output(1)) KSEG_RETURN_IF_ERROR(call.output(1, args.logits.shape, &args.unit_gradient));
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy(args, parallel_for); },
        [&](const auto& cuda) { return resize_softmax_cross_entropy_cuda(args, cuda); });
  }
};

class ResizeSoftmaxTrainingGradOp : public ResizeSoftmaxAttributes {
 public:
  Status run(OpCall& call) const {
    ResizeSoftmaxGradArgs<float> args;
    KSEG_RETURN_IF_ERROR(fill(call, false, &args));
    KSEG_RETURN_IF_ERROR(call.input(2, "unit_gradient", &args.unit_gradient));
    KSEG_RETURN_IF_ERROR(call.input(3, "loss_gradient", &args.loss_gradient));
    KSEG_RETURN_IF_ERROR(call.output(0, args.logits.shape, &args.logits_gradient, 2));
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy_grad(args, parallel_for); },
        [&](const auto& cuda) { return resize_softmax_cross_entropy_grad_cuda(args, cuda); });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CALL_H_
