#include "adapters/xla_cuda_adapter.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(DepthwiseAtrousConv2d, DepthwiseAtrousOp);
KSEG_XLA_HANDLERS(DepthwiseAtrousConv2dInputGrad, DepthwiseAtrousGradOp<true>);
KSEG_XLA_HANDLERS(DepthwiseAtrousConv2dFilterGrad, DepthwiseAtrousGradOp<false>);

}  // namespace kseg
