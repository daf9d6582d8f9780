// The order in which kernels go through an axis of a dilated convolution: all places with remainder 0 when divided by
// the rate, then all with remainder 1, ... Neighbours in this order read the same inputs.
#ifndef KSEG_BASE_CUDA_REMAINDER_ORDER_CUH_
#define KSEG_BASE_CUDA_REMAINDER_ORDER_CUH_

#include <algorithm>
#include <cstdint>

#include "base/cuda/device.cuh"
#include "base/cuda/launch_shape.h"

namespace kseg {

struct RemainderOrder {
  int64_t size;
  int64_t rate;
  int64_t longest;  // places of remainder 0
  int64_t long_remainders;  // have `longest` places, the others one less

  RemainderOrder(int64_t axis_size, int64_t axis_rate)
      : size(axis_size),
        rate(std::max<int64_t>(std::min(axis_rate, axis_size), 1)),
        longest(ceil_div(size, rate)),
        long_remainders(size - (longest - 1) * rate) {}

  KSEG_DEVICE int64_t place(int64_t index) const {
    const int64_t in_long = long_remainders * longest;
    if (index < in_long) return index / longest + index % longest * rate;
    index -= in_long;
    return long_remainders + index / (longest - 1) + index % (longest - 1) * rate;
  }
};

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_REMAINDER_ORDER_CUH_
