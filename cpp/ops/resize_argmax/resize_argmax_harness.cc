#include "cuda_harness/harness.h"
#include "ops/resize_argmax/resize_argmax_cuda.h"

// logits -> classes; align_corners
KSEG_HARNESS(resize_argmax) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    ResizeArgmaxArgs<T> args;
    args.logits = call.array<const T, 4>(0);
    args.classes = call.array<int32_t, 3>(1);
    args.align_corners = call.integer(0) != 0;
    return resize_argmax_cuda(args, call.context());
  });
}
