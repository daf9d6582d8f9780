// Pasting masks on a GPU, to dense masks and packed ones: as paste_masks.h, to the bit. (Run lengths have no size
// before they are counted.)
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CUDA_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/paste_masks/paste_masks.h"

namespace kseg {

// T is float, Half or BFloat16. Takes no scratch memory.
template <class T>
KSEG_API Status paste_masks_cuda(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                                 const PasteOptions& options, bool packed, const View<uint8_t, 3>& output,
                                 const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CUDA_H_
