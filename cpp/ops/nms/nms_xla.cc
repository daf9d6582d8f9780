#include "adapters/xla_adapter.h"
#include "ops/nms/nms_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(Nms, NmsOp);

}  // namespace kseg
