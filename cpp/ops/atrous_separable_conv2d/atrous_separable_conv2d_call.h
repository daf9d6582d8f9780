// What AtrousSeparableConv2d checks and runs, whichever framework calls.
#ifndef KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CALL_H_
#define KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CALL_H_

#include <string>

#include "base/conv_call.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_cuda.h"

namespace kseg {

class AtrousSeparableOp {
 public:
  Status read(const OpAttributes& attributes) {
    std::string depthwise_name, name;
    KSEG_RETURN_IF_ERROR(attributes.get("depthwise_activation", &depthwise_name));
    KSEG_RETURN_IF_ERROR(attributes.get("activation", &name));
    KSEG_RETURN_IF_ERROR(get_conv_options(attributes, &options));
    KSEG_RETURN_IF_ERROR(parse_activation(depthwise_name, "depthwise_activation", &depthwise_activation_));
    return parse_activation(name, "activation", &activation_);
  }

  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(0).type, "x", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 4> x;
      SeparableFilters<T> filters;
      KSEG_RETURN_IF_ERROR(call.input(0, "x", &x));
      KSEG_RETURN_IF_ERROR(call.input(1, "depthwise", &filters.depthwise));
      KSEG_RETURN_IF_ERROR(call.input(2, "pointwise", &filters.pointwise));
      KSEG_RETURN_IF_ERROR(call.input(3, "depthwise_scale", &filters.depthwise_scale));
      KSEG_RETURN_IF_ERROR(call.input(4, "depthwise_offset", &filters.depthwise_offset));
      KSEG_RETURN_IF_ERROR(call.input(5, "scale", &filters.scale));
      KSEG_RETURN_IF_ERROR(call.input(6, "offset", &filters.offset));
      filters.depthwise_activation = depthwise_activation_;
      filters.activation = activation_;
      Shape<4> extents;
      KSEG_RETURN_IF_ERROR(atrous_separable_shape(x.shape, filters, options, &extents));
      View<T, 4> output;
      KSEG_RETURN_IF_ERROR(call.output(0, extents, &output));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            return atrous_separable_conv2d(x, filters, options, output, parallel_for);
          },
          [&](const auto& cuda) { return atrous_separable_conv2d_cuda(x, filters, options, output, cuda); });
    });
  }

  ConvOptions options;

 private:
  Activation depthwise_activation_;
  Activation activation_;
};

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CALL_H_
