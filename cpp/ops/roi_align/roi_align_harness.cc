#include "cuda_harness/harness.h"
#include "ops/roi_align/roi_align_cuda.h"

namespace kseg {
namespace {

Rois rois_of(const HarnessCall& call) { return {call.array<const float, 2>(1), call.array<const int32_t, 1>(2)}; }

RoiAlignOptions options_of(const HarnessCall& call) {
  return {static_cast<float>(call.number(0)), static_cast<int>(call.integer(1)), call.integer(2) != 0};
}

}  // namespace
}  // namespace kseg

// features, boxes, box_indices -> output; spatial_scale, sampling_ratio, aligned
KSEG_HARNESS(roi_align) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return roi_align_cuda<T>(call.array<const T, 4>(0), rois_of(call), options_of(call), call.array<T, 4>(3),
                             call.context());
  });
}

// output_gradient, boxes, box_indices -> features_gradient; spatial_scale, sampling_ratio, aligned
KSEG_HARNESS(roi_align_grad) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return roi_align_grad_cuda<T>(call.array<const T, 4>(0), rois_of(call), options_of(call), call.array<T, 4>(3),
                                  call.context());
  });
}
