// What ConnectedComponents checks and runs, whichever framework calls.
#ifndef KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CALL_H_
#define KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CALL_H_

#include "base/op_call.h"
#include "ops/connected_components/connected_components.h"
#include "ops/connected_components/connected_components_check.h"
#include "ops/connected_components/connected_components_cuda.h"

namespace kseg {

class ConnectedComponentsOp {
 public:
  Status read(const OpAttributes& attributes) {
    int narrowed;
    KSEG_RETURN_IF_ERROR(attributes.get("connectivity", &connectivity_));
    return check_connected_components({0, 0, 0}, connectivity_, &narrowed);
  }

  Status run(OpCall& call) const {
    ConnectedComponentsArgs args;
    KSEG_RETURN_IF_ERROR(call.input_mask(0, "masks", &args.masks));
    KSEG_RETURN_IF_ERROR(check_connected_components(args.masks.shape, connectivity_, &args.connectivity));
    KSEG_RETURN_IF_ERROR(call.output(0, args.masks.shape, &args.labels));
    KSEG_RETURN_IF_ERROR(call.output(1, {args.masks.shape[0]}, &args.counts));
    return run_on_device<int32_t>(
        call, [&](const ParallelFor& parallel_for) { return connected_components(args, parallel_for); },
        [&](const auto& cuda) { return connected_components_cuda(args, cuda); });
  }

 private:
  int64_t connectivity_ = 8;
};

}  // namespace kseg

#endif  // KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CALL_H_
