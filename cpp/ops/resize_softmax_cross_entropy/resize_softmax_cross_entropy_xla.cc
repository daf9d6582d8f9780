#include "adapters/xla_adapter.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(ResizeSoftmaxCrossEntropy, ResizeSoftmaxOp<false>);
KSEG_XLA_HOST_HANDLER(ResizeSoftmaxCrossEntropyGrad, ResizeSoftmaxGradOp<false>);
KSEG_XLA_HOST_HANDLER(ResizeSoftmaxCrossEntropyTraining, ResizeSoftmaxTrainingOp);
KSEG_XLA_HOST_HANDLER(ResizeSoftmaxCrossEntropyTrainingGrad, ResizeSoftmaxTrainingGradOp);
KSEG_XLA_HOST_HANDLER(ResizeSoftmaxCrossEntropyAndDice, ResizeSoftmaxOp<true>);
KSEG_XLA_HOST_HANDLER(ResizeSoftmaxCrossEntropyAndDiceGrad, ResizeSoftmaxGradOp<true>);

}  // namespace kseg
