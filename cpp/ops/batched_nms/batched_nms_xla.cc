#include "adapters/xla_cuda_adapter.h"
#include "ops/batched_nms/batched_nms_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(BatchedNms, BatchedNmsOp);

}  // namespace kseg
