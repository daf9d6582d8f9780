#include "adapters/xla_adapter.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(AtrousSeparableConv2d, AtrousSeparableOp);

}  // namespace kseg
