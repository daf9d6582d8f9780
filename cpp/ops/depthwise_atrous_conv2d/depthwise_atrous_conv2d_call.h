// What DepthwiseAtrousConv2d and its gradients check and run, whichever framework calls.
#ifndef KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CALL_H_
#define KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CALL_H_

#include "base/conv_call.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_cuda.h"

namespace kseg {

struct DepthwiseAtrousAttributes {
  ConvOptions options;

  Status read(const OpAttributes& attributes) { return get_conv_options(attributes, &options); }
};

class DepthwiseAtrousOp : public DepthwiseAtrousAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(0).type, "x", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 4> x, filters;
      KSEG_RETURN_IF_ERROR(call.input(0, "x", &x));
      KSEG_RETURN_IF_ERROR(call.input(1, "filters", &filters));
      Shape<4> extents;
      KSEG_RETURN_IF_ERROR(depthwise_atrous_shape(x.shape, filters.shape, options, &extents));
      View<T, 4> output;
      KSEG_RETURN_IF_ERROR(call.output(0, extents, &output));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            return depthwise_atrous_conv2d(x, filters, options, output, parallel_for);
          },
          [&](const auto& cuda) { return depthwise_atrous_conv2d_cuda(x, filters, options, output, cuda); });
    });
  }
};

template <bool of_input>
class DepthwiseAtrousGradOp : public DepthwiseAtrousAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(0).type, "x", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 4> x, filters, gradient;
      View<T, 4> to;
      KSEG_RETURN_IF_ERROR(call.input(0, "x", &x));
      KSEG_RETURN_IF_ERROR(call.input(1, "filters", &filters));
      KSEG_RETURN_IF_ERROR(call.input(2, "output_gradient", &gradient));
      KSEG_RETURN_IF_ERROR(call.output(0, of_input ? x.shape : filters.shape, &to));
      if constexpr (of_input) {
        return run_on_device<T>(
            call,
            [&](const ParallelFor& parallel_for) {
              return depthwise_atrous_conv2d_input_grad(gradient, filters, options, to, parallel_for);
            },
            [&](const auto& cuda) {
              return depthwise_atrous_conv2d_input_grad_cuda(gradient, filters, options, to, cuda);
            });
      } else {
        return run_on_device<T>(
            call,
            [&](const ParallelFor& parallel_for) {
              return depthwise_atrous_conv2d_filter_grad(x, gradient, options, to, parallel_for);
            },
            [&](const auto& cuda) { return depthwise_atrous_conv2d_filter_grad_cuda(x, gradient, options, to, cuda); });
      }
    });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CALL_H_
