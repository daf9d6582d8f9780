// What the launchers of mask NMS check, on the CPU and for a GPU.
#ifndef KSEG_OPS_MASK_NMS_MASK_NMS_CHECK_H_
#define KSEG_OPS_MASK_NMS_MASK_NMS_CHECK_H_

#include <algorithm>

#include "base/status.h"
#include "ops/mask_iou/mask_iou_check.h"
#include "ops/mask_nms/mask_nms.h"

namespace kseg {

inline Status check_mask_nms(const MaskNmsInput& input, const MaskNmsOptions& options) {
  const auto [batch, count, height, row_bytes] = input.masks.shape;
  if (input.scores.shape != Shape<2>{batch, count}) {
    return invalid_argument("scores must have one entry per mask, ", to_string<2>({batch, count}), ", got ",
                            to_string<2>(input.scores.shape));
  }
  if (input.class_ids.shape != Shape<2>{batch, count}) {
    return invalid_argument("class_ids must have one entry per mask, ", to_string<2>({batch, count}), ", got ",
                            to_string<2>(input.class_ids.shape));
  }
  const Shape<3>& boxes = input.boxes.shape;
  if (boxes[2] != 4 || (boxes[0] * boxes[1] != 0 && (boxes[0] != batch || boxes[1] != count))) {
    return invalid_argument("boxes must have shape ", to_string<3>({batch, count, 4}),
                            ", one box per mask, or [0, 0, 4] for none, got ", to_string<3>(boxes));
  }
  if (options.max_output_size < 0) return invalid_argument("max_output_size must be settled");
  if (count > kMaxNmsOutputs) return invalid_argument("masks must be at most ", kMaxNmsOutputs, ", got ", count);
  MaskStack stack;
  KSEG_RETURN_IF_ERROR(make_mask_stack("masks", nullptr, {count, height, row_bytes}, options.width, &stack));
  const int64_t per_image = std::max<int64_t>(options.max_output_size, 1);
  if (batch > kMaxNmsOutputs / per_image) {
    return invalid_argument("max_output_size times the number of images in masks must be at most ", kMaxNmsOutputs,
                            ", got ", per_image, " x ", batch);
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_MASK_NMS_MASK_NMS_CHECK_H_
