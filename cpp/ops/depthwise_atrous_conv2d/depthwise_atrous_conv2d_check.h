// What the launchers of depthwise dilated convolution check, on the CPU and for a GPU.
#ifndef KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CHECK_H_
#define KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CHECK_H_

#include <cstdint>

#include "base/conv_axis.h"
#include "base/status.h"
#include "base/view.h"

namespace kseg {

// Checks sizes and makes the axes and the shape of the output.
inline Status check_depthwise_atrous_sizes(const Shape<4>& x, const Shape<4>& filters, const ConvOptions& options,
                                           ConvAxis* rows, ConvAxis* columns, Shape<4>* output) {
  KSEG_RETURN_IF_ERROR(make_conv_axes(x, filters, options, rows, columns, "filters", kMaxDepthwiseKernel));
  if (filters[2] != x[3]) {
    return invalid_argument("filters must have shape [kh, kw, C, m] with C = ", x[3], " as x has, got ",
                            to_string<4>(filters));
  }
  int64_t channels;
  if (__builtin_mul_overflow(x[3], filters[3], &channels)) {
    return invalid_argument("filters must have shape [kh, kw, C, m] with C * m below 2**63, got ",
                            to_string<4>(filters));
  }
  *output = {x[0], rows->output, columns->output, channels};
  return Status();
}

inline Status check_depthwise_atrous(const Shape<4>& x, const Shape<4>& filters, const Shape<4>& output,
                                     const ConvOptions& options, ConvAxis* rows, ConvAxis* columns) {
  Shape<4> expected;
  KSEG_RETURN_IF_ERROR(check_depthwise_atrous_sizes(x, filters, options, rows, columns, &expected));
  if (output != expected) {
    return invalid_argument("output_gradient must have the shape of the output, ", to_string<4>(expected), ", got ",
                            to_string<4>(output));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CHECK_H_
