// What MaskIou checks and runs, whichever framework calls.
#ifndef KSEG_OPS_MASK_IOU_MASK_IOU_CALL_H_
#define KSEG_OPS_MASK_IOU_MASK_IOU_CALL_H_

#include "base/op_call.h"
#include "ops/mask_iou/mask_iou.h"
#include "ops/mask_iou/mask_iou_check.h"
#include "ops/mask_iou/mask_iou_cuda.h"

namespace kseg {

class MaskIouOp {
 public:
  Status read(const OpAttributes& attributes) {
    KSEG_RETURN_IF_ERROR(attributes.get("width", &width));
    if (width >= kDenseMasks && width <= kMaxMaskWidth) return Status();
    return invalid_argument("width must be in 0..", kMaxMaskWidth, " or -1, got ", width);
  }

  Status run(OpCall& call) const {
    MaskStack a, b;
    View<const uint8_t, 1> is_crowd;
    View<float, 2> iou;
    KSEG_RETURN_IF_ERROR(input_stack(call, 0, "a", 3, "boxes_a", &a));
    KSEG_RETURN_IF_ERROR(input_stack(call, 1, "b", 4, "boxes_b", &b));
    KSEG_RETURN_IF_ERROR(call.input_mask(2, "is_crowd", &is_crowd));
    KSEG_RETURN_IF_ERROR(check_mask_iou(a, b, is_crowd.shape[0]));
    KSEG_RETURN_IF_ERROR(call.output(0, {a.count, b.count}, &iou));
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return mask_iou(a, b, is_crowd, iou, parallel_for); },
        [&](const auto& cuda) { return mask_iou_cuda(a, b, is_crowd, iou, cuda); });
  }

  int64_t width = kDenseMasks;

 private:
  Status input_stack(const OpCall& call, int index, const char* name, int boxes_index, const char* boxes_name,
                     MaskStack* stack) const {
    View<const uint8_t, 3> masks;
    View<const float, 2> boxes;
    KSEG_RETURN_IF_ERROR(call.input_mask(index, name, &masks));
    KSEG_RETURN_IF_ERROR(call.input(boxes_index, boxes_name, &boxes));
    if (width != kDenseMasks && call.input(index).type != ElementType::kUint8) {
      return invalid_argument(name, " must be uint8 where width is given, got bool");
    }
    KSEG_RETURN_IF_ERROR(make_mask_stack(name, masks.data, masks.shape, width, stack));
    return set_mask_boxes(boxes_name, boxes, stack);
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_MASK_IOU_CALL_H_
