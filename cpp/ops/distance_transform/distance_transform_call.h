// What DistanceTransform checks and runs, whichever framework calls.
#ifndef KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CALL_H_
#define KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CALL_H_

#include "base/op_call.h"
#include "ops/distance_transform/distance_transform.h"
#include "ops/distance_transform/distance_transform_check.h"
#include "ops/distance_transform/distance_transform_cuda.h"

namespace kseg {

class DistanceTransformOp {
 public:
  Status read(const OpAttributes& attributes) {
    KSEG_RETURN_IF_ERROR(attributes.get("signed", &signed_));
    return attributes.get("return_indices", &return_indices_);
  }

  Status run(OpCall& call) const {
    DistanceTransformArgs args;
    View<const double, 1> sampling;
    KSEG_RETURN_IF_ERROR(call.input_mask(0, "masks", &args.masks));
    KSEG_RETURN_IF_ERROR(call.input(1, "sampling", &sampling));
    if (sampling.shape[0] != 2) {
      return invalid_argument("sampling must have 2 elements, along rows and columns, got ", sampling.shape[0]);
    }
    args.row_spacing = sampling.data[0];
    args.column_spacing = sampling.data[1];
    args.is_signed = signed_;
    const auto& [images, height, width] = args.masks.shape;
    KSEG_RETURN_IF_ERROR(check_distance_transform(args.masks.shape, args.row_spacing, args.column_spacing));
    View<int32_t, 4> indices;
    KSEG_RETURN_IF_ERROR(call.output(0, args.masks.shape, &args.distances));
    const Shape<4> none = {0, 0, 0, 2};
    KSEG_RETURN_IF_ERROR(call.output(1, return_indices_ ? Shape<4>{images, height, width, 2} : none, &indices));
    if (return_indices_) args.indices = indices;
    return run_on_device<float>(
        call, [&](const ParallelFor& parallel_for) { return distance_transform(args, parallel_for); },
        [&](const auto& cuda) { return distance_transform_cuda(args, cuda); });
  }

 private:
  bool signed_ = false;
  bool return_indices_ = false;
};

}  // namespace kseg

#endif  // KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CALL_H_
