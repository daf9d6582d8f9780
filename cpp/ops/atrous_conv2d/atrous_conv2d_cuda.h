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

}  // namespace kseg

#endif  // KSEG_OPS_ATROUS_CONV2D_ATROUS_CONV2D_CUDA_H_
