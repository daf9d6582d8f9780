#include "adapters/xla_cuda_adapter.h"
#include "ops/paste_masks/paste_masks_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(PasteMasks, PasteMasksOp);
KSEG_XLA_HOST_HANDLER(PasteMasksRle, PasteMasksRleOp);

}  // namespace kseg
