// What BatchedNms checks and runs, whichever framework calls.
#ifndef KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CALL_H_
#define KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CALL_H_

#include <string>

#include "base/op_call.h"
#include "ops/batched_nms/batched_nms.h"
#include "ops/batched_nms/batched_nms_check.h"
#include "ops/batched_nms/batched_nms_cuda.h"

namespace kseg {

class BatchedNmsOp {
 public:
  Status read(const OpAttributes& attributes) {
    std::string method;
    KSEG_RETURN_IF_ERROR(attributes.get("iou_threshold", &options.iou_threshold));
    KSEG_RETURN_IF_ERROR(attributes.get("score_threshold", &options.score_threshold));
    KSEG_RETURN_IF_ERROR(attributes.get("max_output_size", &options.max_output_size));
    KSEG_RETURN_IF_ERROR(attributes.get("max_per_class", &options.max_per_class));
    KSEG_RETURN_IF_ERROR(attributes.get("class_agnostic", &options.class_agnostic));
    KSEG_RETURN_IF_ERROR(attributes.get("sigma", &options.sigma));
    KSEG_RETURN_IF_ERROR(attributes.get("method", &method));
    KSEG_RETURN_IF_ERROR(parse_nms_method(method, &options.method));
    return check_batched_nms_options(options);
  }

  Status run(OpCall& call) const {
    BatchedNmsArgs args;
    args.options = options;
    KSEG_RETURN_IF_ERROR(input_boxes(call, &args.boxes));
    KSEG_RETURN_IF_ERROR(input_scores(call, &args.scores));
    KSEG_RETURN_IF_ERROR(call.input(2, "class_ids", &args.class_ids));
    KSEG_RETURN_IF_ERROR(check_batched_nms(args));
    const int64_t images = args.scores.shape[0], room = options.max_output_size;
    View<float, 3> boxes;
    View<float, 2> scores;
    View<int32_t, 2> classes, indices;
    View<int32_t, 1> num_valid;
    KSEG_RETURN_IF_ERROR(call.output(0, {images, room, 4}, &boxes));
    KSEG_RETURN_IF_ERROR(call.output(1, {images, room}, &scores));
    KSEG_RETURN_IF_ERROR(call.output(2, {images, room}, &classes));
    KSEG_RETURN_IF_ERROR(call.output(3, {images, room}, &indices));
    KSEG_RETURN_IF_ERROR(call.output(4, {images}, &num_valid));
    args.out_boxes = boxes.data;
    args.out_scores = scores.data;
    args.out_classes = classes.data;
    args.out_indices = indices.data;
    args.num_valid = num_valid.data;
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return batched_nms(args, parallel_for); },
        [&](const auto& cuda) {
          return batched_nms_cuda(args, nms_plan(images, args.scores.shape[1] * args.scores.shape[2]), cuda);
        });
  }

  BatchedNmsOptions options;

 private:
  // With an axis of length 1 inserted before the last one, or as the last one.
  static Status input_boxes(const OpCall& call, View<const float, 4>* boxes) {
    const Array array = call.input(0);
    if (array.rank() == 3) {
      View<const float, 3> view;
      KSEG_RETURN_IF_ERROR(call.input(0, "boxes", &view));
      *boxes = {view.data, {view.shape[0], view.shape[1], 1, view.shape[2]}};
      return Status();
    }
    if (array.rank() != 4) return invalid_argument("boxes must have rank 3 or 4, got shape ", array.shape_text());
    return call.input(0, "boxes", boxes);
  }
  static Status input_scores(const OpCall& call, View<const float, 3>* scores) {
    const Array array = call.input(1);
    if (array.rank() == 2) {
      View<const float, 2> view;
      KSEG_RETURN_IF_ERROR(call.input(1, "scores", &view));
      *scores = {view.data, {view.shape[0], view.shape[1], 1}};
      return Status();
    }
    if (array.rank() != 3) return invalid_argument("scores must have rank 2 or 3, got shape ", array.shape_text());
    return call.input(1, "scores", scores);
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_BATCHED_NMS_BATCHED_NMS_CALL_H_
