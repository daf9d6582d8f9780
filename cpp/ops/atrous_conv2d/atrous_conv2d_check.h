// What the launchers of dilated convolution check, on the CPU and for a GPU.
#ifndef KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CHECK_H_
#define KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CHECK_H_

#include <cstdint>

#include "base/conv_axis.h"
#include "base/status.h"
#include "base/view.h"
#include "ops/atrous_conv2d/atrous_conv2d.h"

namespace kseg {

// Checks sizes and makes the axes and the shape of the output.
inline Status check_atrous_conv2d_sizes(const Shape<4>& x, const Shape<4>& filters, const ConvOptions& options,
                                        ConvAxis* rows, ConvAxis* columns, Shape<4>* output) {
  if (x[3] < 1) return invalid_argument("x must have at least one channel, got shape ", to_string<4>(x));
  if (filters[2] != x[3]) {
    return invalid_argument("filters must have shape [kh, kw, C, F] with the channels of x, C = ", x[3], ", got ",
                            to_string<4>(filters));
  }
  if (filters[3] < 1) {
    return invalid_argument("filters must have at least one output channel, got shape ", to_string<4>(filters));
  }
  KSEG_RETURN_IF_ERROR(make_conv_axes(x, filters, options, rows, columns));
  *output = {x[0], rows->output, columns->output, filters[3]};
  return Status();
}

inline Status check_conv_affine(const View<const float, 1>& values, int64_t channels, const char* argument) {
  if (values.shape[0] == channels || values.shape[0] == 0) return Status();
  return invalid_argument(argument, " must have one entry per output channel, ", channels, ", or none, got ",
                          values.shape[0]);
}

template <class T>
Status check_atrous_conv2d(const AtrousConv2dArgs<T>& args, ConvAxis* rows, ConvAxis* columns) {
  Shape<4> expected;
  const Shape<4>& filters = args.filters.shape;
  KSEG_RETURN_IF_ERROR(check_atrous_conv2d_sizes(args.x.shape, filters, args.options, rows, columns, &expected));
  KSEG_RETURN_IF_ERROR(check_conv_affine(args.scale, filters[3], "scale"));
  KSEG_RETURN_IF_ERROR(check_conv_affine(args.offset, filters[3], "offset"));
  if (args.output.shape != expected) {
    return invalid_argument("the output must have shape ", to_string<4>(expected), ", got ",
                            to_string<4>(args.output.shape));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CHECK_H_
