// What the launchers of NMS check, on the CPU and for a GPU.
#ifndef KSEG_OPS_NMS_NMS_CHECK_H_
#define KSEG_OPS_NMS_NMS_CHECK_H_

#include <cmath>

#include "base/status.h"
#include "ops/nms/candidates.h"
#include "ops/nms/nms.h"

namespace kseg {

inline Status check_nms_thresholds(float iou_threshold, float score_threshold) {
  if (!(iou_threshold >= 0.0f && iou_threshold <= 1.0f)) {
    return invalid_argument("iou_threshold must be in 0..1, got ", iou_threshold);
  }
  if (std::isnan(score_threshold)) return invalid_argument("score_threshold must be a number, got NaN");
  return Status();
}

inline Status check_nms(const NmsArgs& args) {
  KSEG_RETURN_IF_ERROR(check_nms_thresholds(args.iou_threshold, args.score_threshold));
  const int64_t count = args.boxes.shape[0];
  if (args.boxes.shape[1] != 4) {
    return invalid_argument("boxes must have shape [N, 4], got ", to_string<2>(args.boxes.shape));
  }
  if (args.scores.shape[0] != count) {
    return invalid_argument("scores must have one entry per box, got ", args.scores.shape[0], " for ", count, " boxes");
  }
  if (args.class_ids.shape[0] != 0 && args.class_ids.shape[0] != count) {
    return invalid_argument("class_ids must have one entry per box, got ", args.class_ids.shape[0], " for ", count,
                            " boxes");
  }
  if (count > kMostCandidates) {
    return invalid_argument("boxes must be at most ", kMostCandidates, ", got ", count);
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_NMS_NMS_CHECK_H_
