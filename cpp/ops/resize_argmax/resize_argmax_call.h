// What ResizeArgmax checks and runs, whichever framework calls.
#ifndef KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CALL_H_
#define KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CALL_H_

#include "base/op_call.h"
#include "ops/resize_argmax/resize_argmax.h"
#include "ops/resize_argmax/resize_argmax_cuda.h"

namespace kseg {

inline Status check_argmax_size(int64_t height, int64_t width) {
  if (height >= 1 && width >= 1) return Status();
  return invalid_argument("size must be at least 1 x 1, got ", height, " x ", width);
}

class ResizeArgmaxOp {
 public:
  Status read(const OpAttributes& attributes) { return attributes.get("align_corners", &align_corners_); }

  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16, double>(call.input(0).type, "logits", [&](auto tag) {
      using T = typename decltype(tag)::type;
      ResizeArgmaxArgs<T> args;
      KSEG_RETURN_IF_ERROR(call.input(0, "logits", &args.logits));
      int64_t size[2];
      KSEG_RETURN_IF_ERROR(call.input_integers(1, "size", 2, "2 elements, height and width", size));
      KSEG_RETURN_IF_ERROR(check_argmax_size(size[0], size[1]));
      const Shape<3> shape = {args.logits.shape[0], size[0], size[1]};
      KSEG_RETURN_IF_ERROR(check_result_size("size", {shape[0], shape[1], shape[2], int64_t{sizeof(int32_t)}}));
      KSEG_RETURN_IF_ERROR(call.output(0, shape, &args.classes));
      args.align_corners = align_corners_;
      return run_on_device<T>(
          call, [&](const ParallelFor& parallel_for) { return resize_argmax(args, parallel_for); },
          [&](const auto& cuda) { return resize_argmax_cuda(args, cuda); });
    });
  }

 private:
  bool align_corners_ = false;
};

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CALL_H_
