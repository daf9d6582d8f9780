// What the arguments of ASPP must fulfil.
#ifndef KSEG_OPS_ASPP_ASPP_CHECK_H_
#define KSEG_OPS_ASPP_ASPP_CHECK_H_

#include <string>

#include "base/atrous.h"
#include "ops/aspp/aspp.h"

namespace kseg {

inline Status check_aspp_affine(const std::string& name, const char* channels_of, int64_t channels,
                                const View<const float, 1>& scale, const View<const float, 1>& offset) {
  if (scale.shape[0] != channels) {
    return invalid_argument(name, "scale must have one entry per channel of ", channels_of, ", ", channels, ", got ",
                            scale.shape[0]);
  }
  if (offset.shape[0] != channels) {
    return invalid_argument(name, "offset must have one entry per channel of ", channels_of, ", ", channels, ", got ",
                            offset.shape[0]);
  }
  return Status();
}

template <class T>
Status check_aspp_convolution(const std::string& name, const AsppConvolution<T>& convolution, const Shape<4>& x,
                              bool pointwise) {
  const Shape<4>& filters = convolution.filters.shape;
  if (filters[2] != x[3] || filters[3] < 1) {
    return invalid_argument(name, ".filters must have shape [kh, kw, C, F] with C = ", x[3], " and F at least 1, got ",
                            to_string<4>(filters));
  }
  if ((pointwise || convolution.separable) && (filters[0] != 1 || filters[1] != 1)) {
    return invalid_argument(name, ".filters must have shape [1, 1, C, F], got ", to_string<4>(filters));
  }
  KSEG_RETURN_IF_ERROR(check_aspp_affine(name + ".", "filters", filters[3], convolution.scale, convolution.offset));
  const Shape<4>& kernel = convolution.separable ? convolution.depthwise.shape : filters;
  if (convolution.separable) {
    if (kernel[2] != x[3] || kernel[3] != 1) {
      return invalid_argument(name, ".depthwise must have shape [kh, kw, C, 1] with C = ", x[3], ", got ",
                              to_string<4>(kernel));
    }
    KSEG_RETURN_IF_ERROR(
        check_aspp_affine(name + ".depthwise_", "x", x[3], convolution.depthwise_scale, convolution.depthwise_offset));
  }
  ConvAxis rows, columns;
  const Status status =
      make_conv_axes(x, kernel, {convolution.rate}, &rows, &columns, convolution.separable ? "depthwise" : "filters",
                     convolution.separable ? kMaxDepthwiseKernel : kMaxConvKernel);
  return status.ok() ? status : invalid_argument(name, ": ", status.message());
}

// Everything but the output, which may not exist yet.
template <class T>
Status check_aspp_shapes(const AsppArgs<T>& args) {
  const Shape<4>& x = args.x.shape;
  if (x[3] < 1) return invalid_argument("x must have at least one channel, got shape ", to_string<4>(x));
  if (args.branches.empty()) return invalid_argument("branches must hold at least one branch");
  if (args.pooling.size() > 1) return invalid_argument("pooling must be none or one, got ", args.pooling.size());
  int64_t channels = 0;
  for (size_t i = 0; i < args.branches.size(); ++i) {
    KSEG_RETURN_IF_ERROR(
        check_aspp_convolution("branches[" + std::to_string(i) + "]", args.branches[i], x, /*pointwise=*/false));
    channels += args.branches[i].filters.shape[3];
  }
  for (const AsppConvolution<T>& pooling : args.pooling) {
    if (pooling.separable) return invalid_argument("pooling must not have a depthwise part");
    KSEG_RETURN_IF_ERROR(check_aspp_convolution("pooling", pooling, x, /*pointwise=*/true));
    channels += pooling.filters.shape[3];
  }
  if (args.projection.separable) return invalid_argument("projection must not have a depthwise part");
  return check_aspp_convolution("projection", args.projection, {x[0], x[1], x[2], channels}, /*pointwise=*/true);
}

template <class T>
Status check_aspp_args(const AsppArgs<T>& args) {
  KSEG_RETURN_IF_ERROR(check_aspp_shapes(args));
  const Shape<4> expected{args.x.shape[0], args.x.shape[1], args.x.shape[2], args.projection.filters.shape[3]};
  if (args.output.shape == expected) return Status();
  return invalid_argument("the output must have shape ", to_string<4>(expected), ", got ",
                          to_string<4>(args.output.shape));
}

}  // namespace kseg

#endif  // KSEG_OPS_ASPP_ASPP_CHECK_H_
