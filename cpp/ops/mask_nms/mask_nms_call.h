// What MaskNms checks and runs, whichever framework calls.
#ifndef KSEG_OPS_MASK_NMS_MASK_NMS_CALL_H_
#define KSEG_OPS_MASK_NMS_MASK_NMS_CALL_H_

#include <string>

#include "base/op_call.h"
#include "ops/mask_nms/mask_nms.h"
#include "ops/mask_nms/mask_nms_check.h"
#include "ops/mask_nms/mask_nms_cuda.h"

namespace kseg {

class MaskNmsOp {
 public:
  Status read(const OpAttributes& attributes) {
    std::string kind;
    float iou_threshold = 0.0f, score_threshold = 0.0f, sigma = 0.0f;
    bool has_score_threshold = false;
    int64_t max_output_size = 0, width = 0;
    KSEG_RETURN_IF_ERROR(attributes.get("kind", &kind));
    KSEG_RETURN_IF_ERROR(attributes.get("iou_threshold", &iou_threshold));
    KSEG_RETURN_IF_ERROR(attributes.get("score_threshold", &score_threshold));
    KSEG_RETURN_IF_ERROR(attributes.get("has_score_threshold", &has_score_threshold));
    KSEG_RETURN_IF_ERROR(attributes.get("sigma", &sigma));
    KSEG_RETURN_IF_ERROR(attributes.get("max_output_size", &max_output_size));
    KSEG_RETURN_IF_ERROR(attributes.get("width", &width));
    return make_mask_nms_options(kind, iou_threshold, score_threshold, has_score_threshold, sigma, max_output_size,
                                 width, &options);
  }

  Status run(OpCall& call) const {
    MaskNmsInput input;
    MaskNmsOutput output;
    KSEG_RETURN_IF_ERROR(call.input_mask(0, "masks", &input.masks));
    KSEG_RETURN_IF_ERROR(call.input(1, "scores", &input.scores));
    KSEG_RETURN_IF_ERROR(call.input(2, "class_ids", &input.class_ids));
    KSEG_RETURN_IF_ERROR(call.input(3, "boxes", &input.boxes));
    if (options.width >= 0 && call.input(0).type != ElementType::kUint8) {
      return invalid_argument("masks must be uint8 where width is given, got bool");
    }
    MaskNmsOptions chosen = options;
    if (chosen.max_output_size < 0) chosen.max_output_size = input.masks.shape[1];
    KSEG_RETURN_IF_ERROR(check_mask_nms(input, chosen));
    const int64_t batch = input.masks.shape[0];
    KSEG_RETURN_IF_ERROR(call.output(0, {batch, chosen.max_output_size}, &output.indices));
    KSEG_RETURN_IF_ERROR(call.output(1, {batch, chosen.max_output_size}, &output.scores));
    KSEG_RETURN_IF_ERROR(call.output(2, {batch}, &output.num_valid));
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return mask_nms(input, chosen, output, parallel_for); },
        [&](const auto& cuda) {
          return mask_nms_cuda(input, chosen, output, nms_plan(batch, input.masks.shape[1]), cuda);
        });
  }

  MaskNmsOptions options;
};

}  // namespace kseg

#endif  // KSEG_OPS_MASK_NMS_MASK_NMS_CALL_H_
