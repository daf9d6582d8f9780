// Batched NMS on a GPU: as batched_nms.h, with all arrays in device memory.
#ifndef KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CUDA_H_
#define KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/batched_nms/batched_nms.h"
#include "ops/nms/ranked_cuda.h"

namespace kseg {

// Any class id will do. `plan` is how the work is cut, nms_plan(B, N * C), and does not show in the result.
KSEG_API Status batched_nms_cuda(const BatchedNmsArgs& args, const NmsPlan& plan, const CudaContext& context);

// The parts of it. Each gives the keys of what is picked, [images, most], and how many there are.
struct CudaDetections {
  uint64_t* keys = nullptr;
  int32_t* counts = nullptr;
};
Status pick_softly_cuda(const RankedCuda& ranked, const CudaRankedBoxes& boxes, const BatchedNmsOptions& options,
                        float score_threshold, int64_t candidates, const CudaPickLimits& limits,
                        const CudaContext& context, CudaDetections* picks);

// Ranks anew by the scores as matrix NMS lowers them.
Status rank_by_matrix_cuda(const RankedCuda& ranked, const CudaRankedBoxes& boxes, const BatchedNmsOptions& options,
                           float score_threshold, int64_t candidates, const NmsPlan& plan, const CudaContext& context,
                           RankedCuda* lowered);

}  // namespace kseg

#endif  // KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CUDA_H_
