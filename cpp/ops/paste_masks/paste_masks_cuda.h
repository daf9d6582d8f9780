// Pasting masks on a GPU: as paste_masks.h, to the bit. Run lengths have no size before they are counted, so that they
// take three calls.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CUDA_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/paste_masks/paste_masks.h"

namespace kseg {

// T is float, Half or BFloat16. paste_masks_cuda takes no scratch memory.
template <class T>
KSEG_API Status paste_masks_cuda(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                                 const PasteOptions& options, bool packed, const View<uint8_t, 3>& output,
                                 const CudaContext& context);

// Where the runs of each mask begin, splits [N + 1] of PastedRuns, in device memory, and what writing them needs,
// *columns: scratch memory of 4 bytes for each column of the image and mask.
template <class T>
KSEG_API Status count_pasted_runs_cuda(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                                       const PasteOptions& options, const View<int64_t, 1>& splits, uint32_t** columns,
                                       const CudaContext& context);

// The number of all runs. Waits for the device; nothing else does.
KSEG_API Status read_run_count_cuda(const View<const int64_t, 1>& splits, int64_t* count, const CudaContext& context);

// The other arguments are as the first call had and made them. `counts` has that number of places or, where nobody
// waits for it, some bound of it: places behind the runs become -1, runs that find no place are left out. Takes as much
// scratch memory as `counts`.
template <class T>
KSEG_API Status write_pasted_runs_cuda(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                                       const PasteOptions& options, const View<const int64_t, 1>& splits,
                                       uint32_t* columns, const View<int32_t, 1>& counts, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CUDA_H_
