#include "adapters/xla_adapter.h"
#include "ops/mask_iou/mask_iou_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(MaskIou, MaskIouOp);

}  // namespace kseg
