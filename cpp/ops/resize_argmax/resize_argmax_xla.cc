#include "adapters/xla_cuda_adapter.h"
#include "ops/resize_argmax/resize_argmax_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(ResizeArgmax, ResizeArgmaxOp);

}  // namespace kseg
