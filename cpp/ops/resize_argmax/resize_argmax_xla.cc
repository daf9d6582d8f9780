#include "adapters/xla_adapter.h"
#include "ops/resize_argmax/resize_argmax_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(ResizeArgmax, ResizeArgmaxOp);

}  // namespace kseg
