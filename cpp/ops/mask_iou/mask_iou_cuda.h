// Mask IoU on a GPU: as mask_iou.h, with all arrays in device memory.
#ifndef KSEG_OPS_MASK_IOU_MASK_IOU_CUDA_H_
#define KSEG_OPS_MASK_IOU_MASK_IOU_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/mask_iou/mask_iou.h"

namespace kseg {

KSEG_API Status mask_iou_cuda(const MaskStack& a, const MaskStack& b, const View<const uint8_t, 1>& is_crowd,
                              const View<float, 2>& output, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_MASK_IOU_CUDA_H_
