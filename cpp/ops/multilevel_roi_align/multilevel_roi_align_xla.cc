#include "adapters/xla_cuda_adapter.h"
#include "ops/multilevel_roi_align/multilevel_roi_align_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(MultilevelRoiAlign, MultilevelRoiAlignOp);
KSEG_XLA_HANDLERS(MultilevelRoiAlignGrad, MultilevelRoiAlignGradOp);

}  // namespace kseg
