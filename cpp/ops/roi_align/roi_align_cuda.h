// RoIAlign on a GPU: as roi_align.h, but for boxes that name no image of the batch. Those give zeros and take no
// gradient; telling would need a wait for the device.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CUDA_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/roi_align/roi_align.h"

namespace kseg {

// T is float, Half or BFloat16.
template <class T>
KSEG_API Status roi_align_cuda(const View<const T, 4>& features, const Rois& rois, const RoiAlignOptions& options,
                               const View<T, 4>& output, const CudaContext& context);

// Sums in the order of the boxes, without atomics: the result is the same to the bit in every run.
template <class T>
KSEG_API Status roi_align_grad_cuda(const View<const T, 4>& output_gradient, const Rois& rois,
                                    const RoiAlignOptions& options, const View<T, 4>& features_gradient,
                                    const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CUDA_H_
