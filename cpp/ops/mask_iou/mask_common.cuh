// The pixels that two masks have in common.
#ifndef KSEG_OPS_MASK_IOU_MASK_COMMON_CUH_
#define KSEG_OPS_MASK_IOU_MASK_COMMON_CUH_

#include <cstdint>

#include "base/cuda/reduce.cuh"
#include "ops/mask_iou/mask_bits_cuda.h"

namespace kseg {

KSEG_DEVICE bool spans_meet(const CudaMaskSpan& a, const CudaMaskSpan& b) {
  return max(a.top, b.top) < min(a.bottom, b.bottom) && max(a.first, b.first) < min(a.end, b.end);
}

// In every lane. The lanes of a warp take so many words side by side as the narrower of the two has, up to a power of
// two, and rows one below the other with what lanes are left.
KSEG_DEVICE unsigned long long common_pixels(const CudaMaskBits& masks_a, int64_t a, const CudaMaskBits& masks_b,
                                             int64_t b) {
  const CudaMaskSpan& one = masks_a.spans[a];
  const CudaMaskSpan& other = masks_b.spans[b];
  const int first = max(one.first, other.first), end = min(one.end, other.end);
  const int64_t top = max(one.top, other.top), bottom = min(one.bottom, other.bottom);
  int log_width = 0;
  while (log_width < 5 && 1 << log_width < end - first) ++log_width;
  const int rows = kWarpSize >> log_width;
  const int64_t words = masks_a.words;
  const uint32_t* const from_a = masks_a.bits + a * masks_a.height * words;
  const uint32_t* const from_b = masks_b.bits + b * masks_b.height * words;
  unsigned long long sum = 0;
  for (int64_t word = first + (lane_index() & ((1 << log_width) - 1)); word < end; word += kWarpSize) {
    const int64_t begin = top + (lane_index() >> log_width);
    const uint32_t* row_a = from_a + begin * words + word;
    const uint32_t* row_b = from_b + begin * words + word;
#pragma unroll 4
    for (int64_t y = begin; y < bottom; y += rows) {
      sum += static_cast<unsigned>(__popc(*row_a & *row_b));
      row_a += rows * words;
      row_b += rows * words;
    }
  }
  return warp_reduce(sum, Add());
}

// The quotient of two counts, rounded to double and then to float, as the contract has it: the only place for double.
KSEG_DEVICE float iou_of_counts(unsigned long long common, unsigned long long denominator) {
  if (denominator == 0) return 0.0f;
  return static_cast<float>(static_cast<double>(common) / static_cast<double>(denominator));
}

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_MASK_COMMON_CUH_
