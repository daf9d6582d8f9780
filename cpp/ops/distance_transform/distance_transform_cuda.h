// The distance transform on a GPU: as distance_transform.h, with all arrays in device memory.
#ifndef KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CUDA_H_
#define KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CUDA_H_

#include <cstdint>

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/distance_transform/distance_transform.h"

namespace kseg {

// Where squared distances are whole (see distance_weights.h; any common spacing, sides below 2**15) the result is that
// of the CPU to the bit, ties included. Else it may differ in what rounding decides.
KSEG_API Status distance_transform_cuda(const DistanceTransformArgs& args, const CudaContext& context);

// Along columns: for each pixel how far the nearest one of the other kind in its column is, negative for background;
// the largest and the smallest Offset where there is none. Offset is int16_t or int32_t.
template <class Offset>
Status find_column_offsets_cuda(const View<const uint8_t, 3>& masks, Offset* offsets, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CUDA_H_
