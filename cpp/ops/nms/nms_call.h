// What Nms checks and runs, whichever framework calls.
#ifndef KSEG_OPS_NMS_NMS_CALL_H_
#define KSEG_OPS_NMS_NMS_CALL_H_

#include <vector>

#include "base/op_call.h"
#include "ops/nms/nms.h"
#include "ops/nms/nms_check.h"
#include "ops/nms/nms_cuda.h"

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
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return on_cpu(args, call, parallel_for); },
        [&](const auto& cuda) { return on_gpu(args, call, cuda); });
  }

 private:
  static Status on_cpu(const NmsArgs& args, OpCall& call, const ParallelFor& parallel_for) {
    std::vector<int32_t> kept(args.boxes.shape[0]);
    int64_t count = 0;
    KSEG_RETURN_IF_ERROR(nms(args, kept.data(), &count, parallel_for));
    kept.resize(count);
    return call.output_values(0, kept);
  }

  // The one op that waits for the device: the result cannot be allocated before its size is known.
  template <class Context>
  static Status on_gpu(const NmsArgs& args, OpCall& call, const Context& cuda) {
    const int64_t rows = args.boxes.shape[0];
    const int64_t places = args.max_output_size < 0 || args.max_output_size > rows ? rows : args.max_output_size;
    int32_t *kept = nullptr, *kept_count = nullptr;
    int64_t count = 0;
    View<int32_t, 1> output;
    KSEG_RETURN_IF_ERROR(cuda.scratch->allocate(places, &kept));
    KSEG_RETURN_IF_ERROR(cuda.scratch->allocate(1, &kept_count));
    KSEG_RETURN_IF_ERROR(nms_cuda(args, {kept, {places}}, kept_count, nms_plan(1, rows), cuda));
    KSEG_RETURN_IF_ERROR(read_kept_count_cuda(kept_count, &count, cuda));
    KSEG_RETURN_IF_ERROR(call.output(0, {count}, &output));
    return copy_kept_cuda(kept, output, cuda);
  }

  NmsArgs attributes_;
};

}  // namespace kseg

#endif  // KSEG_OPS_NMS_NMS_CALL_H_
