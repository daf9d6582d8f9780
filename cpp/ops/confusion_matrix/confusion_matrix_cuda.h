// The confusion matrix on a GPU: as confusion_matrix.h, but for labels that are neither a class nor ignore_index, and
// predicted classes out of range. Such pixels are not counted; telling would need a wait for the device.
#ifndef KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CUDA_H_
#define KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/confusion_matrix/confusion_matrix.h"

namespace kseg {

// Logits of float, Half or BFloat16. Takes no scratch memory.
KSEG_API Status confusion_matrix_cuda(const ConfusionMatrixArgs& args, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CUDA_H_
