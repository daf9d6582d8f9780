// Atrous separable convolution on a GPU: as atrous_separable_conv2d.h, but for 16-bit T. There, what lies between the
// convolutions is summed, mapped and activated in float32 and then rounded to T for tensor cores, as two convolutions
// one after the other would have it.
#ifndef KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CUDA_H_
#define KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d.h"

namespace kseg {

// T is float, Half or BFloat16. Scales and offsets lie in device memory too.
template <class T>
KSEG_API Status atrous_separable_conv2d_cuda(const View<const T, 4>& x, const SeparableFilters<T>& filters,
                                             const ConvOptions& options, const View<T, 4>& output,
                                             const CudaContext& context);

// The same into a part of something larger: the results of neighbouring pixels lie `stride` elements apart, at least F.
template <class T>
Status atrous_separable_conv2d_part_cuda(const View<const T, 4>& x, const SeparableFilters<T>& filters,
                                         const ConvOptions& options, const View<T, 4>& output, int64_t stride,
                                         const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_SEPARABLE_CONV2D_ATROUS_SEPARABLE_CONV2D_CUDA_H_
