// The backward direction where the forward one has done its work.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SCALE_UNIT_GRADIENT_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SCALE_UNIT_GRADIENT_H_

#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"

namespace kseg {

// Writes args.logits_gradient and returns true if args.loss_gradient is one moderate number at all pixels of each image
// that are not void. Else nothing is written.
bool scale_unit_gradient(const ResizeSoftmaxGradArgs<float>& args, const ParallelFor& parallel_for);

// For the types that have no unit gradient.
template <class T>
bool scale_unit_gradient(const ResizeSoftmaxGradArgs<T>&, const ParallelFor&) {
  return false;
}

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SCALE_UNIT_GRADIENT_H_
