#include "adapters/xla_cuda_adapter.h"
#include "ops/max_pool_with_indices/max_pool_with_indices_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(MaxPoolWithIndices, MaxPoolWithIndicesOp);
KSEG_XLA_HANDLERS(MaxPoolWithIndicesGrad, MaxPoolWithIndicesGradOp);

}  // namespace kseg
