#include "adapters/xla_cuda_adapter.h"
#include "ops/max_unpool2d/max_unpool2d_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(MaxUnpool2d, MaxUnpool2dOp);
KSEG_XLA_HANDLERS(MaxUnpool2dGrad, MaxUnpool2dGradOp);

}  // namespace kseg
