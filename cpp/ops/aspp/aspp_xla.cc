#include "adapters/xla_adapter.h"
#include "ops/aspp/aspp_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(Aspp, AsppOp);

}  // namespace kseg
