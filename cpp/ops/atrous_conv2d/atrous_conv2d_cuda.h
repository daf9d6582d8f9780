// Dilated convolution on a GPU: as atrous_conv2d.h. The padding counts as zeros: a filter that is infinite or not a
// number may make a result not a number where one of its taps lies there. Float is multiplied as float, not as TF32.
#ifndef KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CUDA_H_
#define KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/atrous_conv2d/atrous_conv2d.h"

namespace kseg {

// T is float, Half or BFloat16. All arrays lie in device memory.
template <class T>
KSEG_API Status atrous_conv2d_cuda(const AtrousConv2dArgs<T>& args, const CudaContext& context);

// The same as a part of something larger. The results of neighbouring pixels lie `stride` elements apart, at least F.
// `start` [B, F], or null for zeros: what the sums of an image's pixels begin with, ahead of the affine map.
template <class T>
Status atrous_conv2d_part_cuda(const AtrousConv2dArgs<T>& args, int64_t stride, const float* start,
                               const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CUDA_H_
