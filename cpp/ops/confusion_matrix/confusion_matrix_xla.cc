#include "adapters/xla_cuda_adapter.h"
#include "ops/confusion_matrix/confusion_matrix_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(ConfusionMatrix, ConfusionMatrixOp);

}  // namespace kseg
