#include "adapters/xla_cuda_adapter.h"
#include "ops/connected_components/connected_components_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(ConnectedComponents, ConnectedComponentsOp);

}  // namespace kseg
