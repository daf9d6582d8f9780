// Connected components on a GPU: as connected_components.h, with all arrays in device memory.
#ifndef KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CUDA_H_
#define KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/connected_components/connected_components.h"

namespace kseg {

KSEG_API Status connected_components_cuda(const ConnectedComponentsArgs& args, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CUDA_H_
