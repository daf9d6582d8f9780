#include "adapters/xla_adapter.h"
#include "ops/max_pool_with_indices/max_pool_with_indices_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(MaxPoolWithIndices, MaxPoolWithIndicesOp);
KSEG_XLA_HOST_HANDLER(MaxPoolWithIndicesGrad, MaxPoolWithIndicesGradOp);

}  // namespace kseg
