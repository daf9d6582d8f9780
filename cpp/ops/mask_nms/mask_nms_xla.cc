#include "adapters/xla_cuda_adapter.h"
#include "ops/mask_nms/mask_nms_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(MaskNms, MaskNmsOp);

}  // namespace kseg
