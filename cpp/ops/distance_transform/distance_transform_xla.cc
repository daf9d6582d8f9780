#include "adapters/xla_cuda_adapter.h"
#include "ops/distance_transform/distance_transform_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(DistanceTransform, DistanceTransformOp);

}  // namespace kseg
