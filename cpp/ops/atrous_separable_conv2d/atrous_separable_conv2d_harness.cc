#include "cuda_harness/harness.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_cuda.h"

// x, depthwise, pointwise, depthwise scale and offset, scale and offset (of no elements: none) -> output; rate of rows
// and columns, same, activations after either convolution
KSEG_HARNESS(atrous_separable_conv2d) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    SeparableFilters<T> filters;
    filters.depthwise = call.array<const T, 4>(1);
    filters.pointwise = call.array<const T, 4>(2);
    filters.depthwise_scale = call.array<const float, 1>(3);
    filters.depthwise_offset = call.array<const float, 1>(4);
    filters.scale = call.array<const float, 1>(5);
    filters.offset = call.array<const float, 1>(6);
    filters.depthwise_activation = static_cast<Activation>(call.integer(3));
    filters.activation = static_cast<Activation>(call.integer(4));
    const ConvOptions options{{call.integer(0), call.integer(1)},
                              call.integer(2) != 0 ? Padding::kSame : Padding::kValid};
    return atrous_separable_conv2d_cuda<T>(call.array<const T, 4>(0), filters, options, call.array<T, 4>(7),
                                           call.context());
  });
}
