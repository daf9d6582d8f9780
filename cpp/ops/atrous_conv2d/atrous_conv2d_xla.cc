#include "adapters/xla_cuda_adapter.h"
#include "ops/atrous_conv2d/atrous_conv2d_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(AtrousConv2d, AtrousConv2dOp);

}  // namespace kseg
