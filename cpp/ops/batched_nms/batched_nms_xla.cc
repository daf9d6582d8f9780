#include "adapters/xla_adapter.h"
#include "ops/batched_nms/batched_nms_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(BatchedNms, BatchedNmsOp);

}  // namespace kseg
