#include "cuda_harness/harness.h"
#include "ops/atrous_conv2d/atrous_conv2d_cuda.h"

// x, filters, scale, offset (of no elements: none) -> output; rate of rows and columns, same, activation
KSEG_HARNESS(atrous_conv2d) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    AtrousConv2dArgs<T> args;
    args.x = call.array<const T, 4>(0);
    args.filters = call.array<const T, 4>(1);
    args.scale = call.array<const float, 1>(2);
    args.offset = call.array<const float, 1>(3);
    args.options = {{call.integer(0), call.integer(1)}, call.integer(2) != 0 ? Padding::kSame : Padding::kValid};
    args.activation = static_cast<Activation>(call.integer(3));
    args.output = call.array<T, 4>(4);
    return atrous_conv2d_cuda<T>(args, call.context());
  });
}
