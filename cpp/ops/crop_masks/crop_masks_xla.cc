#include "adapters/xla_cuda_adapter.h"
#include "ops/crop_masks/crop_masks_call.h"

namespace kseg {

KSEG_XLA_HANDLERS(CropMasks, CropMasksOp);
KSEG_XLA_HANDLERS(CropMasksRle, CropMasksRleOp);
KSEG_XLA_HANDLERS(CropMasksPolygon, CropMasksPolygonOp);

}  // namespace kseg
