// Atrous spatial pyramid pooling on a GPU: as aspp.h, but for 16-bit T. There, what a branch gives is rounded to T, as
// is what lies between the two convolutions of a separable branch; numbers beyond the range of Half become infinite
// there. The mean of an image, the pooled branch and its share of the projection stay float32. The padding counts as
// zeros, as in atrous_conv2d_cuda.h. Scratch memory: the branches of all pixels side by side, and at most 128 sums per
// channel of each image.
#ifndef KSEG_OPS_ASPP_ASPP_CUDA_H_
#define KSEG_OPS_ASPP_ASPP_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/aspp/aspp.h"

namespace kseg {

// T is float, Half or BFloat16. All arrays lie in device memory. The result of an image does not depend on the others
// of its batch.
template <class T>
KSEG_API Status aspp_cuda(const AsppArgs<T>& args, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_ASPP_ASPP_CUDA_H_
