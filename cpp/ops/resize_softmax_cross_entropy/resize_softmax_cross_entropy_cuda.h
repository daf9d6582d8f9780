// Softmax cross-entropy of resized logits on a GPU: as resize_softmax_cross_entropy.h, but for labels that are neither
// a class nor void. Those count as void; telling would need a wait for the device.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CUDA_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"

namespace kseg {

// Arrays lie in device memory; options.class_weights does not. T is float, Half or BFloat16; the unit gradient may be
// of any of them here. Takes 12 bytes of scratch memory for each source pixel and, for a gradient or Dice, 16 or 24 for
// each label.
template <class T>
KSEG_API Status resize_softmax_cross_entropy_cuda(const ResizeSoftmaxArgs<T>& args, const CudaContext& context);

// Sums in a fixed order, without atomics: the result is the same to the bit in every run.
template <class T>
KSEG_API Status resize_softmax_cross_entropy_grad_cuda(const ResizeSoftmaxGradArgs<T>& args,
                                                       const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CUDA_H_
