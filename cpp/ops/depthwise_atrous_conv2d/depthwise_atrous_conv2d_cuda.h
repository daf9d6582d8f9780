// Depthwise dilated convolution and its gradients on a GPU: as depthwise_atrous_conv2d.h. All of them are the same to
// the bit in every run and on every GPU.
#ifndef KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CUDA_H_
#define KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d.h"

namespace kseg {

// T is float, Half or BFloat16; sums are float32.
template <class T>
KSEG_API Status depthwise_atrous_conv2d_cuda(const View<const T, 4>& x, const View<const T, 4>& filters,
                                             const ConvOptions& options, const View<T, 4>& output,
                                             const CudaContext& context);

template <class T>
KSEG_API Status depthwise_atrous_conv2d_input_grad_cuda(const View<const T, 4>& output_gradient,
                                                        const View<const T, 4>& filters, const ConvOptions& options,
                                                        const View<T, 4>& x_gradient, const CudaContext& context);

template <class T>
KSEG_API Status depthwise_atrous_conv2d_filter_grad_cuda(const View<const T, 4>& x,
                                                         const View<const T, 4>& output_gradient,
                                                         const ConvOptions& options, const View<T, 4>& filters_gradient,
                                                         const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_ATROUS_CONV2D_CUDA_H_
