#include "adapters/xla_adapter.h"
#include "ops/roi_align/roi_align_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(RoiAlign, RoiAlignOp);
KSEG_XLA_HOST_HANDLER(RoiAlignGrad, RoiAlignGradOp);

}  // namespace kseg
