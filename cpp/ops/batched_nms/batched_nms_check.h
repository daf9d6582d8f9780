// What the launchers of batched NMS check, on the CPU and for a GPU.
#ifndef KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CHECK_H_
#define KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CHECK_H_

#include "base/status.h"
#include "ops/batched_nms/batched_nms.h"
#include "ops/nms/nms_check.h"

namespace kseg {

inline Status check_batched_nms_options(const BatchedNmsOptions& options) {
  KSEG_RETURN_IF_ERROR(check_nms_thresholds(options.iou_threshold, options.score_threshold));
  if (options.max_output_size < 1 || options.max_output_size > kMostDetections) {
    return invalid_argument("max_output_size must be in 1..", kMostDetections, ", got ", options.max_output_size);
  }
  if (options.max_per_class == 0) return invalid_argument("max_per_class must be at least 1, got 0");
  if (!(options.sigma >= 1e-6f && options.sigma <= 1e6f)) {
    return invalid_argument("sigma must be in 1e-6..1e6, got ", options.sigma);
  }
  return Status();
}

inline Status check_batched_nms(const BatchedNmsArgs& args) {
  KSEG_RETURN_IF_ERROR(check_batched_nms_options(args.options));
  const Shape<4>& boxes = args.boxes.shape;
  const Shape<3>& scores = args.scores.shape;
  const Shape<2>& ids = args.class_ids.shape;
  if (boxes[3] != 4) return invalid_argument("the last axis of boxes must be 4, got ", boxes[3]);
  if (scores[0] != boxes[0] || scores[1] != boxes[1]) {
    return invalid_argument("scores must have the images and rows of boxes, ", boxes[0], " and ", boxes[1], ", got ",
                            scores[0], " and ", scores[1]);
  }
  if (scores[2] < 1) return invalid_argument("scores must have at least one class, got 0");
  if (boxes[2] != 1 && boxes[2] != scores[2]) {
    return invalid_argument("boxes must be one per row or one for each of the ", scores[2], " classes of scores, got ",
                            boxes[2]);
  }
  if (!args.class_ids.empty() || ids[0] != 0 || ids[1] != 0) {
    if (ids[0] != scores[0] || ids[1] != scores[1]) {
      return invalid_argument("class_ids must have the shape of scores, ", scores[0], " x ", scores[1], ", got ",
                              ids[0], " x ", ids[1]);
    }
    if (scores[2] != 1) {
      return invalid_argument("class_ids must not be given with scores of several classes, got ", scores[2]);
    }
  }
  if (scores[1] > kMostCandidates / scores[2]) {
    return invalid_argument("scores must have at most ", kMostCandidates, " numbers per image, got ", scores[1], " x ",
                            scores[2]);
  }
  if (scores[0] > kMostBatchDetections / args.options.max_output_size) {
    return invalid_argument("max_output_size times the number of images must be at most ", kMostBatchDetections,
                            ", got ", args.options.max_output_size, " x ", scores[0]);
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CHECK_H_
