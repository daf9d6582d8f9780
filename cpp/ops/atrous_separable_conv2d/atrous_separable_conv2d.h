// Atrous separable convolution (Chen et al. 2018, DeepLabv3+) for inference: depthwise dilated convolution, affine map
// and activation, pointwise convolution, affine map and activation, tile by tile, with nothing between them in memory.
// kseg_ops/reference/atrous_separable_conv2d.py says what it means.
#ifndef KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_H_
#define KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_H_

#include <cstdint>

#include "base/atrous.h"
#include "base/gemm_types.h"
#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

template <class T>
struct SeparableFilters {
  View<const T, 4> depthwise;  // [kh, kw, C, m]
  View<const T, 4> pointwise;  // [1, 1, C * m, F]
  // Per channel, or of no elements: ones or zeros.
  View<const float, 1> depthwise_scale, depthwise_offset, scale, offset;
  Activation depthwise_activation = Activation::kNone;
  Activation activation = Activation::kNone;
};

// The shape of the output for x [B, H, W, C], everything checked: [B, h, w, F].
template <class T>
KSEG_API Status atrous_separable_shape(const Shape<4>& x, const SeparableFilters<T>& filters,
                                       const ConvOptions& options, Shape<4>* output);

// T is float, Half or BFloat16; sums and what lies between the convolutions are float32.
template <class T>
KSEG_API Status atrous_separable_conv2d(const View<const T, 4>& x, const SeparableFilters<T>& filters,
                                        const ConvOptions& options, const View<T, 4>& output,
                                        const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_H_
