// Depthwise dilated convolution (Chen et al. 2018, DeepLabv3+: the first half of an atrous separable convolution) and
// its gradients. kseg_ops/reference/depthwise_atrous_conv2d.py says what it means.
#ifndef KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_H_
#define KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_H_

#include <cstdint>

#include "base/atrous.h"
#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// The shape of the output for x [B, H, W, C] and filters [kh, kw, C, m], checked: [B, h, w, C * m].
KSEG_API Status depthwise_atrous_shape(const Shape<4>& x, const Shape<4>& filters, const ConvOptions& options,
                                       Shape<4>* output);

// T is float, Half or BFloat16; sums are float32.
template <class T>
KSEG_API Status depthwise_atrous_conv2d(const View<const T, 4>& x, const View<const T, 4>& filters,
                                        const ConvOptions& options, const View<T, 4>& output,
                                        const ParallelFor& parallel_for);

// The gradient with respect to x, gathered; deterministic.
template <class T>
KSEG_API Status depthwise_atrous_conv2d_input_grad(const View<const T, 4>& output_gradient,
                                                   const View<const T, 4>& filters, const ConvOptions& options,
                                                   const View<T, 4>& x_gradient, const ParallelFor& parallel_for);

// The gradient with respect to the filters: partial sums over parts of the output that depend on the sizes alone, added
// in a fixed order.
template <class T>
KSEG_API Status depthwise_atrous_conv2d_filter_grad(const View<const T, 4>& x, const View<const T, 4>& output_gradient,
                                                    const ConvOptions& options, const View<T, 4>& filters_gradient,
                                                    const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_H_
