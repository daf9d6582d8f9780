#include "cuda_harness/harness.h"
#include "ops/batched_nms/batched_nms_cuda.h"

// boxes [B, N, C or 1, 4], scores [B, N, C], class_ids -> boxes, scores, classes, indices, num_valid; iou_threshold,
// score_threshold, max_output_size, max_per_class, class_agnostic, sigma, NmsMethod; optionally tile, fan and round of
// the plan
KSEG_HARNESS(batched_nms) {
  using namespace kseg;
  BatchedNmsArgs args;
  args.boxes = call.array<const float, 4>(0);
  args.scores = call.array<const float, 3>(1);
  args.class_ids = call.array<const int32_t, 2>(2);
  args.options.iou_threshold = static_cast<float>(call.number(0));
  args.options.score_threshold = static_cast<float>(call.number(1));
  args.options.max_output_size = call.integer(2);
  args.options.max_per_class = call.integer(3);
  args.options.class_agnostic = call.integer(4) != 0;
  args.options.sigma = static_cast<float>(call.number(5));
  args.options.method = static_cast<NmsMethod>(call.integer(6));
  args.out_boxes = static_cast<float*>(call.data(3));
  args.out_scores = static_cast<float*>(call.data(4));
  args.out_classes = static_cast<int32_t*>(call.data(5));
  args.out_indices = static_cast<int32_t*>(call.data(6));
  args.num_valid = static_cast<int32_t*>(call.data(7));
  NmsPlan plan = nms_plan(args.scores.shape[0], args.scores.shape[1] * args.scores.shape[2]);
  if (call.number_count() > 7) {
    plan = {static_cast<int>(call.integer(7)), static_cast<int>(call.integer(8)), static_cast<int>(call.integer(9))};
  }
  return batched_nms_cuda(args, plan, call.context());
}
