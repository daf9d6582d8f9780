// What the launchers of atrous separable convolution check, on the CPU and for a GPU.
#ifndef KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CHECK_H_
#define KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CHECK_H_

#include <cstdint>

#include "base/conv_axis.h"
#include "base/status.h"
#include "base/view.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d.h"

namespace kseg {

inline Status check_separable_affine(const View<const float, 1>& values, int64_t channels, const char* argument) {
  if (values.shape[0] == 0 || values.shape[0] == channels) return Status();
  return invalid_argument(argument, " must have one entry per channel, ", channels, ", or none, got ", values.shape[0]);
}

// Checks sizes and makes the axes and the shape of the output.
template <class T>
Status check_atrous_separable_sizes(const Shape<4>& x, const SeparableFilters<T>& filters, const ConvOptions& options,
                                    ConvAxis* rows, ConvAxis* columns, Shape<4>* output) {
  const Shape<4>& depthwise = filters.depthwise.shape;
  const Shape<4>& pointwise = filters.pointwise.shape;
  KSEG_RETURN_IF_ERROR(make_conv_axes(x, depthwise, options, rows, columns, "depthwise", kMaxDepthwiseKernel));
  if (x[3] < 1) return invalid_argument("x must have at least one channel, got shape ", to_string<4>(x));
  int64_t middle;
  if (depthwise[2] != x[3] || depthwise[3] < 1 || __builtin_mul_overflow(depthwise[2], depthwise[3], &middle)) {
    return invalid_argument("depthwise must have shape [kh, kw, C, m] with C = ", x[3],
                            " as x has and m of at least 1, got ", to_string<4>(depthwise));
  }
  if (pointwise[0] != 1 || pointwise[1] != 1 || pointwise[2] != middle) {
    return invalid_argument("pointwise must have shape [1, 1, C * m, F] with C * m = ", middle, ", got ",
                            to_string<4>(pointwise));
  }
  KSEG_RETURN_IF_ERROR(check_separable_affine(filters.depthwise_scale, middle, "depthwise_scale"));
  KSEG_RETURN_IF_ERROR(check_separable_affine(filters.depthwise_offset, middle, "depthwise_offset"));
  KSEG_RETURN_IF_ERROR(check_separable_affine(filters.scale, pointwise[3], "scale"));
  KSEG_RETURN_IF_ERROR(check_separable_affine(filters.offset, pointwise[3], "offset"));
  *output = {x[0], rows->output, columns->output, pointwise[3]};
  return Status();
}

template <class T>
Status check_atrous_separable(const Shape<4>& x, const SeparableFilters<T>& filters, const ConvOptions& options,
                              const Shape<4>& output, ConvAxis* rows, ConvAxis* columns) {
  Shape<4> expected;
  KSEG_RETURN_IF_ERROR(check_atrous_separable_sizes(x, filters, options, rows, columns, &expected));
  if (output != expected) {
    return invalid_argument("the output must have shape ", to_string<4>(expected), ", got ", to_string<4>(output));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CHECK_H_
