// Dilated ("atrous") convolution with an affine map and an activation behind it, in one pass.
#ifndef KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_H_
#define KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_H_

#include <array>
#include <cstdint>

#include "base/conv_axis.h"
#include "base/gemm_types.h"
#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

template <class T>
struct AtrousConv2dArgs {
  View<const T, 4> x;            // [B, H, W, C]
  View<const T, 4> filters;      // [kh, kw, C, F]
  View<const float, 1> scale;   // [F], or [0] for ones
  View<const float, 1> offset;  // [F], or [0] for zeros
  ConvOptions options;
  Activation activation = Activation::kNone;
  View<T, 4> output;             // [B, H', W', F]
};

// The shape of the output; checks shapes and rates before anything is allocated.
KSEG_API Status atrous_conv2d_shape(const Shape<4>& x, const Shape<4>& filters, const ConvOptions& options,
                                    Shape<4>* output);

// output = activation(convolution * scale + offset). Sums are float32, in the order of taps and channels whatever the
// number of threads; a tap in the padding adds nothing. T: float, Half, BFloat16.
template <class T>
KSEG_API Status atrous_conv2d(const AtrousConv2dArgs<T>& args, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_H_
