// What Nms checks and runs, whichever framework calls.
#ifndef KSEG_OPS_NMS_NMS_CALL_H_
#define KSEG_OPS_NMS_NMS_CALL_H_

#include <vector>

#include "base/op_call.h"
#include "ops/nms/nms.h"

namespace kseg {

class NmsOp {
 public:
  Status read(const OpAttributes& attributes) {
    KSEG_RETURN_IF_ERROR(attributes.get("iou_threshold", &attributes_.iou_threshold));
    KSEG_RETURN_IF_ERROR(attributes.get("score_threshold", &attributes_.score_threshold));
    KSEG_RETURN_IF_ERROR(attributes.get("max_output_size", &attributes_.max_output_size));
    return check_nms_thresholds(attributes_.iou_threshold, attributes_.score_threshold);
  }

  Status run(OpCall& call) const {
    NmsArgs args = attributes_;
    KSEG_RETURN_IF_ERROR(call.input(0, "boxes", &args.boxes));
    KSEG_RETURN_IF_ERROR(call.input(1, "scores", &args.scores));
    KSEG_RETURN_IF_ERROR(call.input(2, "class_ids", &args.class_ids));
    KSEG_RETURN_IF_ERROR(check_nms(args));
    std::vector<int32_t> kept(args.boxes.shape[0]);
    int64_t count = 0;
    KSEG_RETURN_IF_ERROR(nms(args, kept.data(), &count, call.parallel_for()));
    kept.resize(count);
    return call.output_values(0, kept);
  }

 private:
  NmsArgs attributes_;
};

}  // namespace kseg

#endif  // KSEG_OPS_NMS_NMS_CALL_H_
