// Max pooling with indices on a GPU: as max_pool_with_indices.h. An index that names no pixel of a window that has it
// gives its gradient to nobody, as on the CPU.
#ifndef KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CUDA_H_
#define KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/max_pool_with_indices/max_pool_with_indices.h"

namespace kseg {

// T is float, Half or BFloat16.
template <class T>
KSEG_API Status max_pool_with_indices_cuda(const View<const T, 4>& images, const PoolWindows& windows,
                                           const View<T, 4>& pooled, const View<int32_t, 4>& indices,
                                           const CudaContext& context);

// Gathered, in raster order of the windows: the same to the bit in every run.
template <class T>
KSEG_API Status max_pool_with_indices_grad_cuda(const View<const T, 4>& pooled_gradient,
                                                const View<const int32_t, 4>& indices, const PoolWindows& windows,
                                                const View<T, 4>& images_gradient, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CUDA_H_
