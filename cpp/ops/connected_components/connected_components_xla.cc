#include "adapters/xla_adapter.h"
#include "ops/connected_components/connected_components_call.h"

namespace kseg {

KSEG_XLA_HOST_HANDLER(ConnectedComponents, ConnectedComponentsOp);

}  // namespace kseg
