// What AtrousConv2d checks and runs, whichever framework calls.
#ifndef KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CALL_H_
#define KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CALL_H_

#include <string>

#include "base/conv_call.h"
#include "ops/atrous_conv2d/atrous_conv2d.h"
#include "ops/atrous_conv2d/atrous_conv2d_cuda.h"

namespace kseg {

class AtrousConv2dOp {
 public:
  Status read(const OpAttributes& attributes) {
    std::string name;
    KSEG_RETURN_IF_ERROR(attributes.get("activation", &name));
    KSEG_RETURN_IF_ERROR(get_conv_options(attributes, &options));
    return parse_activation(name, "activation", &activation_);
  }

  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(0).type, "x", [&](auto tag) {
      using T = typename decltype(tag)::type;
      AtrousConv2dArgs<T> args;
      KSEG_RETURN_IF_ERROR(call.input(0, "x", &args.x));
      KSEG_RETURN_IF_ERROR(call.input(1, "filters", &args.filters));
      KSEG_RETURN_IF_ERROR(call.input(2, "scale", &args.scale));
      KSEG_RETURN_IF_ERROR(call.input(3, "offset", &args.offset));
      args.options = options;
      args.activation = activation_;
      Shape<4> extents;
      KSEG_RETURN_IF_ERROR(atrous_conv2d_shape(args.x.shape, args.filters.shape, options, &extents));
      KSEG_RETURN_IF_ERROR(check_affine("scale", args.scale.shape[0], extents[3]));
      KSEG_RETURN_IF_ERROR(check_affine("offset", args.offset.shape[0], extents[3]));
      KSEG_RETURN_IF_ERROR(call.output(0, extents, &args.output));
      return run_on_device<T>(
          call, [&](const ParallelFor& parallel_for) { return atrous_conv2d(args, parallel_for); },
          [&](const auto& cuda) { return atrous_conv2d_cuda(args, cuda); });
    });
  }

  ConvOptions options;

 private:
  static Status check_affine(const char* name, int64_t size, int64_t channels) {
    if (size == channels || size == 0) return Status();
    return invalid_argument(name, " must have one entry per output channel, ", channels, ", or none, got ", size);
  }

  Activation activation_;
};

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CALL_H_
