#include "adapters/xla_adapter.h"
#include "ops/mask_nms/mask_nms_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(MaskNms, MaskNmsOp);

}  // namespace kseg
