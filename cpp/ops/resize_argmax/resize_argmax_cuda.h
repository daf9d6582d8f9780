// The argmax of resized logits on a GPU: as resize_argmax.h.
#ifndef KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CUDA_H_
#define KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/resize_argmax/resize_argmax.h"

namespace kseg {

// T is float, Half or BFloat16. Rows, columns and classes: at most 2**24 of each. Takes no scratch memory.
template <class T>
KSEG_API Status resize_argmax_cuda(const ResizeArgmaxArgs<T>& args, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CUDA_H_
