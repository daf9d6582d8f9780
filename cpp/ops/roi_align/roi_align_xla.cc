#include "adapters/xla_cuda_adapter.h"
#include "ops/roi_align/roi_align_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(RoiAlign, RoiAlignOp);
KSEG_XLA_HANDLERS(RoiAlignGrad, RoiAlignGradOp);

}  // namespace kseg
