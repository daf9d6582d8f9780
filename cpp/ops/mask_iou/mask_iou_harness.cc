#include "cuda_harness/harness.h"
#include "ops/mask_iou/mask_iou_check.h"
#include "ops/mask_iou/mask_iou_cuda.h"

namespace kseg {
namespace {

Status stack_of(const HarnessCall& call, const char* argument, int masks, int boxes, MaskStack* stack) {
  const View<const uint8_t, 3> view = call.array<const uint8_t, 3>(masks);
  KSEG_RETURN_IF_ERROR(make_mask_stack(argument, view.data, view.shape, call.integer(0), stack));
  return set_mask_boxes(argument, call.array<const float, 2>(boxes), stack);
}

}  // namespace
}  // namespace kseg

// a, b, is_crowd (uint8), boxes_a, boxes_b -> iou; width or -1
KSEG_HARNESS(mask_iou) {
  using namespace kseg;
  MaskStack a, b;
  KSEG_RETURN_IF_ERROR(stack_of(call, "a", 0, 3, &a));
  KSEG_RETURN_IF_ERROR(stack_of(call, "b", 1, 4, &b));
  return mask_iou_cuda(a, b, call.array<const uint8_t, 1>(2), call.array<float, 2>(5), call.context());
}
