#include "adapters/xla_cuda_adapter.h"
#include "ops/aspp/aspp_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(Aspp, AsppOp);

}  // namespace kseg
