#include "adapters/xla_adapter.h"
#include "ops/multilevel_roi_align/multilevel_roi_align_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(MultilevelRoiAlign, MultilevelRoiAlignOp);
KSEG_XLA_HOST_HANDLER(MultilevelRoiAlignGrad, MultilevelRoiAlignGradOp);

}  // namespace kseg
