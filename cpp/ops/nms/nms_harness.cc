#include <algorithm>

#include "cuda_harness/harness.h"
#include "ops/nms/nms_cuda.h"

// boxes, scores, class_ids -> kept, kept_count [1]; iou_threshold, score_threshold, max_output_size; optionally tile,
// fan and round of the plan
KSEG_HARNESS(nms) {
  using namespace kseg;
  NmsArgs args;
  args.boxes = call.array<const float, 2>(0);
  args.scores = call.array<const float, 1>(1);
  args.class_ids = call.array<const int32_t, 1>(2);
  args.iou_threshold = static_cast<float>(call.number(0));
  args.score_threshold = static_cast<float>(call.number(1));
  args.max_output_size = call.integer(2);
  NmsPlan plan = nms_plan(1, args.scores.shape[0]);
  if (call.number_count() > 3) {
    plan = {static_cast<int>(call.integer(3)), static_cast<int>(call.integer(4)), static_cast<int>(call.integer(5))};
  }
  return nms_cuda(args, call.array<int32_t, 1>(3), static_cast<int32_t*>(call.data(4)), plan, call.context());
}

// For tests: images, candidates -> tile, fan, round
KSEG_HARNESS(nms_plan) {
  using namespace kseg;
  const NmsPlan plan = nms_plan(call.integer(0), call.integer(1));
  const int64_t numbers[] = {plan.tile, plan.fan, plan.round};
  std::copy_n(numbers, 3, call.array<int64_t, 1>(0).data);
  return Status();
}
