// RoIAlign over a feature pyramid on a GPU: as multilevel_roi_align.h, all levels in one launch.
#ifndef KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CUDA_H_
#define KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CUDA_H_

#include <vector>

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/multilevel_roi_align/multilevel_roi_align.h"

namespace kseg {

// T is float, Half or BFloat16.
template <class T>
KSEG_API Status multilevel_roi_align_cuda(const std::vector<View<const T, 4>>& features,
                                          const View<const float, 3>& boxes, const MultilevelRoiAlignOptions& options,
                                          const View<T, 5>& output, const CudaContext& context);

// Sums in the order of the boxes, without atomics: the result is the same to the bit in every run.
template <class T>
KSEG_API Status multilevel_roi_align_grad_cuda(const View<const T, 5>& output_gradient,
                                               const View<const float, 3>& boxes,
                                               const MultilevelRoiAlignOptions& options,
                                               const std::vector<View<T, 4>>& features_gradients,
                                               const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CUDA_H_
