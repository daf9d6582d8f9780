// What the launchers of mask IoU check, on the CPU and for a GPU.
#ifndef KSEG_OPS_MASK_IOU_MASK_IOU_CHECK_H_
#define KSEG_OPS_MASK_IOU_MASK_IOU_CHECK_H_

#include "base/status.h"
#include "base/view.h"
#include "ops/mask_iou/mask_iou.h"

namespace kseg {

// Checks that there is a box for each of `count` masks, or none at all.
inline Status check_mask_boxes(const char* argument, const Shape<2>& shape, int64_t count) {
  if (shape[1] != 4 || (shape[0] != 0 && shape[0] != count)) {
    return invalid_argument(argument, " must have shape [", count, ", 4], one box per mask, or [0, 4] for none, got ",
                            to_string<2>(shape));
  }
  return Status();
}

// A stack of an array [count, H, W], or [count, H, ceil(width / 8)] unless `width` is kDenseMasks. Checks the shape.
inline Status make_mask_stack(const char* argument, const uint8_t* data, const Shape<3>& shape, int64_t width,
                              MaskStack* stack) {
  stack->data = data;
  stack->count = shape[0];
  stack->height = shape[1];
  stack->packed = width != kDenseMasks;
  stack->width = stack->packed ? width : shape[2];
  if (stack->width < 0 || stack->width > kMaxMaskWidth) {
    return invalid_argument("width must be in 0..", kMaxMaskWidth, ", or ", kDenseMasks,
                            " for masks with a byte per pixel, got ", stack->width);
  }
  if (stack->height > kMaxMaskWidth) {
    return invalid_argument(argument, " must have at most ", kMaxMaskWidth, " rows, got shape ", to_string<3>(shape));
  }
  if (stack->packed && shape[2] != stack->row_bytes()) {
    return invalid_argument(argument, " must have ceil(width / 8) = ", stack->row_bytes(),
                            " bytes per row with width = ", width, ", got shape ", to_string<3>(shape));
  }
  return Status();
}

// Gives the masks boxes of shape [count, 4], or none where that is [0, 4].
inline Status set_mask_boxes(const char* argument, const View<const float, 2>& boxes, MaskStack* stack) {
  KSEG_RETURN_IF_ERROR(check_mask_boxes(argument, boxes.shape, stack->count));
  stack->boxes = boxes.shape[0] == 0 ? nullptr : boxes.data;
  return Status();
}

// Checks what decides the size of the result, before it is allocated.
inline Status check_mask_iou(const MaskStack& a, const MaskStack& b, int64_t crowd_flags) {
  if (a.height != b.height || a.width != b.width || a.packed != b.packed) {
    return invalid_argument("a and b must be masks of one height and width, got ", a.height, " x ", a.width, " and ",
                            b.height, " x ", b.width);
  }
  if (crowd_flags != b.count) {
    return invalid_argument("is_crowd must have one entry per mask of b, ", b.count, ", got ", crowd_flags);
  }
  if (b.count > 0 && a.count > kMaxMaskPairs / b.count) {
    return invalid_argument("a and b must make at most ", kMaxMaskPairs, " pairs, got ", a.count, " x ", b.count);
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_MASK_IOU_CHECK_H_
