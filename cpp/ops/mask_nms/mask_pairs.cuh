// The overlap of a mask with better ones, 32 at most at a time.
#ifndef KSEG_OPS_MASK_NMS_MASK_PAIRS_CUH_
#define KSEG_OPS_MASK_NMS_MASK_PAIRS_CUH_

#include <cstdint>

#include "ops/mask_iou/mask_common.cuh"
#include "ops/mask_nms/mask_nms_cuda.h"
#include "ops/nms/rank.cuh"

namespace kseg {

KSEG_DEVICE int32_t mask_class(const CudaRankedMasks& masks, int64_t image, int64_t rank) {
  return masks.class_ids[image * masks.per_image + key_number(masks.ranked.keys[image * masks.ranked.places + rank])];
}

// In each lane the IoU of the mask of rank `own` with that of rank `other`, which is the lane's; less than any IoU
// where the lane has none (`there` is false) or their classes differ. Every lane of the warp calls it.
KSEG_DEVICE float overlap_of_lane(const CudaRankedMasks& masks, int64_t image, int64_t own, int64_t other, bool there) {
  const int64_t base = image * masks.per_image;
  there = there && mask_class(masks, image, own) == mask_class(masks, image, other);
  const bool meet = there && spans_meet(masks.bits.spans[base + own], masks.bits.spans[base + other]);
  unsigned long long common = 0;
  for (unsigned left = __ballot_sync(kFullMask, meet); left != 0; left &= left - 1) {
    const int lane = __ffs(static_cast<int>(left)) - 1;
    const int64_t its_other = __shfl_sync(kFullMask, other, lane);
    const unsigned long long count = common_pixels(masks.bits, base + own, masks.bits, base + its_other);
    if (lane == lane_index()) common = count;
  }
  if (!there) return __int_as_float(0xff800000);
  return iou_of_counts(common, masks.bits.spans[base + own].area + masks.bits.spans[base + other].area - common);
}

}  // namespace kseg

#endif  // KSEG_OPS_MASK_NMS_MASK_PAIRS_CUH_
