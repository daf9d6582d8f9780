// What the launchers of max pooling check, on the CPU and for a GPU.
#ifndef KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CHECK_H_
#define KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CHECK_H_

#include <cstdint>
#include <limits>

#include "base/status.h"
#include "base/view.h"
#include "ops/max_pool_with_indices/max_pool_with_indices.h"

namespace kseg {

inline Status check_pool_sizes(int64_t pool_rows, int64_t pool_columns, int64_t stride_rows, int64_t stride_columns) {
  for (const int64_t size : {pool_rows, pool_columns}) {
    if (size < 1 || size > kMostPoolSize) {
      return invalid_argument("pool_size must be in 1..", kMostPoolSize, ", got ", size);
    }
  }
  for (const int64_t stride : {stride_rows, stride_columns}) {
    if (stride < 1 || stride > kMostPoolSize) {
      return invalid_argument("strides must be in 1..", kMostPoolSize, ", got ", stride);
    }
  }
  return Status();
}

inline Status check_pool_pixels(const Shape<4>& images, const char* argument) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  if (images[1] > kMost || images[2] > kMost || images[1] * images[2] > kMost) {
    return invalid_argument(argument, " must have fewer than 2**31 pixels per image, got ", to_string<4>(images));
  }
  return Status();
}

inline Status check_pooled_shapes(const Shape<4>& images, const PoolWindows& windows, const Shape<4>& pooled,
                                  const Shape<4>& indices) {
  KSEG_RETURN_IF_ERROR(
      check_pool_sizes(windows.rows.pool, windows.columns.pool, windows.rows.stride, windows.columns.stride));
  KSEG_RETURN_IF_ERROR(check_pool_pixels(images, "x"));
  const Shape<4> expected = {images[0], windows.rows.outputs(images[1]), windows.columns.outputs(images[2]), images[3]};
  if (pooled != expected || indices != expected) {
    return invalid_argument("what is pooled from ", to_string<4>(images), " must have shape ", to_string<4>(expected),
                            ", got ", to_string<4>(pooled), " and indices of shape ", to_string<4>(indices));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CHECK_H_
