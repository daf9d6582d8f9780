// Mask NMS on a GPU: as mask_nms.h, with all arrays in device memory.
#ifndef KSEG_OPS_MASK_NMS_MASK_NMS_CUDA_H_
#define KSEG_OPS_MASK_NMS_MASK_NMS_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/mask_iou/mask_bits_cuda.h"
#include "ops/mask_nms/mask_nms.h"
#include "ops/nms/ranked_cuda.h"

namespace kseg {

// Any class id will do. `plan` is how the work is cut, nms_plan(B, N), and does not show in the result.
KSEG_API Status mask_nms_cuda(const MaskNmsInput& input, const MaskNmsOptions& options, const MaskNmsOutput& output,
                              const NmsPlan& plan, const CudaContext& context);

// Masks by rank, `per_image` places for each image.
struct CudaRankedMasks {
  RankedCuda ranked;
  CudaMaskBits bits;
  const int32_t* class_ids;  // [images, per_image], by number
  int64_t per_image;
};

// What soft NMS picks, [images, most], and how many.
struct CudaMaskPicks {
  uint64_t* keys = nullptr;
  int32_t* counts = nullptr;
};
Status pick_masks_softly_cuda(const CudaRankedMasks& masks, float sigma, float least, int64_t most,
                              const CudaContext& context, CudaMaskPicks* picks);

// Ranks anew by the scores as matrix NMS lowers them.
Status rank_masks_by_matrix_cuda(const CudaRankedMasks& masks, float sigma, float least, const NmsPlan& plan,
                                 const CudaContext& context, RankedCuda* lowered);

}  // namespace kseg

#endif  // KSEG_OPS_MASK_NMS_MASK_NMS_CUDA_H_
