#include "adapters/xla_cuda_adapter.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(ResizeSoftmaxCrossEntropy, ResizeSoftmaxOp<false>);
KSEG_XLA_HANDLERS(ResizeSoftmaxCrossEntropyGrad, ResizeSoftmaxGradOp<false>);
KSEG_XLA_HANDLERS(ResizeSoftmaxCrossEntropyTraining, ResizeSoftmaxTrainingOp);
KSEG_XLA_HANDLERS(ResizeSoftmaxCrossEntropyTrainingGrad, ResizeSoftmaxTrainingGradOp);
KSEG_XLA_HANDLERS(ResizeSoftmaxCrossEntropyAndDice, ResizeSoftmaxOp<true>);
KSEG_XLA_HANDLERS(ResizeSoftmaxCrossEntropyAndDiceGrad, ResizeSoftmaxGradOp<true>);

}  // namespace kseg
