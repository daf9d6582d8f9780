#include "cuda_harness/harness.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_cuda.h"

namespace kseg {
namespace {

ConvOptions options_of(const HarnessCall& call) {
  return {{call.integer(0), call.integer(1)}, call.integer(2) != 0 ? Padding::kSame : Padding::kValid};
}

}  // namespace
}  // namespace kseg

// x, filters -> output; rate of rows and columns, same
KSEG_HARNESS(depthwise_atrous_conv2d) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return depthwise_atrous_conv2d_cuda<T>(call.array<const T, 4>(0), call.array<const T, 4>(1), options_of(call),
                                           call.array<T, 4>(2), call.context());
  });
}

// output gradient, filters -> x gradient; as above
KSEG_HARNESS(depthwise_atrous_conv2d_input_grad) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return depthwise_atrous_conv2d_input_grad_cuda<T>(call.array<const T, 4>(0), call.array<const T, 4>(1),
                                                      options_of(call), call.array<T, 4>(2), call.context());
  });
}

// x, output gradient -> filters gradient; as above
KSEG_HARNESS(depthwise_atrous_conv2d_filter_grad) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return depthwise_atrous_conv2d_filter_grad_cuda<T>(call.array<const T, 4>(0), call.array<const T, 4>(1),
                                                       options_of(call), call.array<T, 4>(2), call.context());
  });
}
