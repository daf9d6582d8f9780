// Crops of masks on a GPU: as crop_masks.h, but for what only the device knows. A box that names no mask gives zeros.
// Run lengths that do not fill the mask leave the rest of it empty; splits that fall or pass the counts' end are cut
// there.
#ifndef KSEG_OPS_CROP_MASKS_CROP_MASKS_CUDA_H_
#define KSEG_OPS_CROP_MASKS_CROP_MASKS_CUDA_H_

#include "base/cuda/context.h"
#include "base/target.h"
#include "ops/crop_masks/crop_masks.h"

namespace kseg {

// Products and sums are carried in pairs of floats, so that results are rounded once, as on the CPU.
KSEG_API Status crop_dense_masks_cuda(const View<const uint8_t, 3>& masks, bool packed, const CropImageSize& image_size,
                                      const CropBoxes& boxes, const CropMasksOptions& options,
                                      const View<float, 3>& output, const CudaContext& context);

// Takes 4 bytes of scratch memory for each count.
KSEG_API Status crop_rle_masks_cuda(const View<const int32_t, 1>& counts, const View<const int64_t, 1>& splits,
                                    const CropImageSize& image_size, const CropBoxes& boxes,
                                    const CropMasksOptions& options, const View<float, 3>& output,
                                    const CudaContext& context);

// COCO's rasterisation is defined by sums of doubles, and this makes the same ones: masks are equal to the bit.
// Coordinates beyond 2**26 are cut there, what is not a number to -2**26; the odd one of a polygon's coordinates is
// left out. Takes 4 bytes of scratch memory for each coordinate.
template <class T>
KSEG_API Status crop_polygon_masks_cuda(const View<const T, 1>& coordinates,
                                        const View<const int64_t, 1>& polygon_splits,
                                        const View<const int64_t, 1>& mask_splits, const CropImageSize& image_size,
                                        const CropBoxes& boxes, const CropMasksOptions& options,
                                        const View<float, 3>& output, const CudaContext& context);

}  // namespace kseg

#endif  // KSEG_OPS_CROP_MASKS_CROP_MASKS_CUDA_H_
