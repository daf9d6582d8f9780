#include "adapters/xla_adapter.h"
#include "ops/distance_transform/distance_transform_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(DistanceTransform, DistanceTransformOp);

}  // namespace kseg
