#include "adapters/xla_cuda_adapter.h"
#include "ops/mask_iou/mask_iou_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(MaskIou, MaskIouOp);

}  // namespace kseg
