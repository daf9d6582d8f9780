// Max unpooling on a GPU: as max_unpool2d.h, but for indices outside of the output. Their values are lost and take no
// gradient; telling would need a wait for the device.
#ifndef KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CUDA_H_
#define KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CUDA_H_

#include <cstdint>

#include "base/cuda/context.h"
#include "base/target.h"
#include "base/status.h"
#include "base/view.h"

namespace kseg {

// T is uint16_t or uint32_t. Values have at most 2**32 - 2 pixels per image.
template <class T>
KSEG_API Status max_unpool2d_cuda(const View<const T, 4>& values, const View<const int32_t, 4>& indices,
                                  const View<T, 4>& output, const CudaContext& context);

template <class T>
KSEG_API Status max_unpool2d_grad_cuda(const View<const T, 4>& output_gradient, const View<const int32_t, 4>& indices,
                                       const View<T, 4>& values_gradient, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CUDA_H_
