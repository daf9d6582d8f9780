// NMS on a GPU: as nms.h, with the number of kept boxes left in device memory.
#ifndef KSEG_OPS_NMS_NMS_CUDA_H_
#define KSEG_OPS_NMS_NMS_CUDA_H_

#include <cstdint>

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/nms/nms.h"
#include "ops/nms/ranked_cuda.h"

namespace kseg {

// `kept` has min(N, max_output_size) places; those behind the kept boxes become -1. Any class id will do. `plan` is how
// the work is cut, nms_plan(1, N), and does not show in the result.
KSEG_API Status nms_cuda(const NmsArgs& args, const View<int32_t, 1>& kept, int32_t* kept_count, const NmsPlan& plan,
                         const CudaContext& context);

// The number of kept boxes, for TensorFlow, whose result has that size. Waits for the device; nothing else does.
KSEG_API Status read_kept_count_cuda(const int32_t* kept_count, int64_t* count, const CudaContext& context);
// The first of the kept boxes, as many as `to` holds.
KSEG_API Status copy_kept_cuda(const int32_t* kept, const View<int32_t, 1>& to, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_NMS_NMS_CUDA_H_
