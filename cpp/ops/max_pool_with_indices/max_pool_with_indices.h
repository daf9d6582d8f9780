// Max pooling that tells where each maximum was (Badrinarayanan et al. 2017, SegNet), and its gradient.
#ifndef KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_H_
#define KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_H_

#include <algorithm>
#include <cstdint>

#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int64_t kMostPoolSize = 1 << 20;  // of windows and strides, per axis

// One axis of the windows. Window i covers [i * stride - before, i * stride - before + pool), cut to the image.
struct PoolAxis {
  int64_t pool = 2;
  int64_t stride = 2;
  bool same = false;  // as in TensorFlow: ceil(size / stride) windows; else only windows that lie inside the image

  int64_t outputs(int64_t size) const {
    if (same) return size / stride + (size % stride != 0);
    return size < pool ? 0 : (size - pool) / stride + 1;
  }
  int64_t before(int64_t size) const {
    const int64_t count = outputs(size);
    return same && count > 0 ? std::max<int64_t>((count - 1) * stride + pool - size, 0) / 2 : 0;
  }
};

struct PoolWindows {
  PoolAxis rows;
  PoolAxis columns;
};

KSEG_API Status check_pool(int64_t pool_rows, int64_t pool_columns, int64_t stride_rows, int64_t stride_columns);

// Images have fewer than 2**31 pixels: an index is an int32. `argument` is what the caller knows their shape by.
KSEG_API Status check_pool_image(const Shape<4>& images, const char* argument);

// For each window and channel of images [B, H, W, C] the largest value and its place y * W + x: both [B, h, w, C]. NaN
// counts as larger than every number; of equal values the first in raster order counts. Windows have been checked.
template <class T>
KSEG_API Status max_pool_with_indices(const View<const T, 4>& images, const PoolWindows& windows,
                                      const View<T, 4>& pooled, const View<int32_t, 4>& indices,
                                      const ParallelFor& parallel_for);

// For each pixel the sum over the windows that have it as their maximum, in raster order of the windows.
template <class T>
KSEG_API Status max_pool_with_indices_grad(const View<const T, 4>& pooled_gradient,
                                           const View<const int32_t, 4>& indices, const PoolWindows& windows,
                                           const View<T, 4>& images_gradient, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_H_
