#include "adapters/xla_cuda_adapter.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(AtrousSeparableConv2d, AtrousSeparableOp);

}  // namespace kseg
