// Max unpooling (Badrinarayanan et al. 2017, SegNet): each value goes back to the place that its index names.
//
// Values are moved and never computed with, so that kernels know only their size.
#ifndef KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_H_
#define KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_H_

#include <cstdint>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// Checks what a result's size depends on before memory is allocated for it. `batch` and `channels` may be 0 for
// unknown.
KSEG_API Status check_max_unpool2d(int64_t output_height, int64_t output_width, int64_t batch, int64_t channels);

// values and indices [B, h, w, C] -> output [B, H, W, C], 0 where no index points. An index is y * W + x in its image
// and channel; where several point to one place, the last in raster order counts. T: uint16_t, uint32_t or uint64_t.
template <class T>
KSEG_API Status max_unpool2d(const View<const T, 4>& values, const View<const int32_t, 4>& indices,
                             const View<T, 4>& output, const ParallelFor& parallel_for);

// The gradient at the place that each index names, and 0 for values that another one has replaced.
template <class T>
KSEG_API Status max_unpool2d_grad(const View<const T, 4>& output_gradient, const View<const int32_t, 4>& indices,
                                  const View<T, 4>& values_gradient, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_H_
