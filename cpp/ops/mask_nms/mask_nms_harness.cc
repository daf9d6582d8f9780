#include "cuda_harness/harness.h"
#include "ops/mask_nms/mask_nms_cuda.h"

// masks, scores, class_ids, boxes -> indices, scores, num_valid; width or -1, MaskNmsKind, iou_threshold, sigma,
// max_output_size, has_score_threshold, score_threshold; optionally tile, fan and round of the plan
KSEG_HARNESS(mask_nms) {
  using namespace kseg;
  MaskNmsInput input;
  input.masks = call.array<const uint8_t, 4>(0);
  input.scores = call.array<const float, 2>(1);
  input.class_ids = call.array<const int32_t, 2>(2);
  input.boxes = call.array<const float, 3>(3);
  MaskNmsOptions options;
  options.width = call.integer(0);
  options.kind = static_cast<MaskNmsKind>(call.integer(1));
  options.iou_threshold = static_cast<float>(call.number(2));
  options.sigma = static_cast<float>(call.number(3));
  options.max_output_size = call.integer(4);
  options.has_score_threshold = call.integer(5) != 0;
  options.score_threshold = static_cast<float>(call.number(6));
  NmsPlan plan = nms_plan(input.masks.shape[0], input.masks.shape[1]);
  if (call.number_count() > 7) {
    plan = {static_cast<int>(call.integer(7)), static_cast<int>(call.integer(8)), static_cast<int>(call.integer(9))};
  }
  const MaskNmsOutput output{call.array<int32_t, 2>(4), call.array<float, 2>(5), call.array<int32_t, 1>(6)};
  return mask_nms_cuda(input, options, output, plan, call.context());
}
