#include "adapters/xla_adapter.h"
#include "ops/confusion_matrix/confusion_matrix_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(ConfusionMatrix, ConfusionMatrixOp);

}  // namespace kseg
