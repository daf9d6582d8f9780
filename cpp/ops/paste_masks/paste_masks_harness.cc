#include "cuda_harness/harness.h"
#include "ops/paste_masks/paste_masks_cuda.h"

namespace kseg {
namespace {

// torchvision's mode, threshold, height, width
PasteOptions options_of(const HarnessCall& call) {
  PasteOptions options;
  options.mode = call.integer(0) != 0 ? PasteMode::kTorchvision : PasteMode::kDetectron2;
  options.threshold = static_cast<float>(call.number(1));
  options.height = call.integer(2);
  options.width = call.integer(3);
  return options;
}

}  // namespace
}  // namespace kseg

// masks, boxes -> pasted; options and packed
KSEG_HARNESS(paste_masks) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return paste_masks_cuda<T>(call.array<const T, 3>(0), call.array<const float, 2>(1), options_of(call),
                               call.integer(4) != 0, call.array<uint8_t, 3>(2), call.context());
  });
}

// masks, boxes -> counts and splits; options, and whether counts must have room for all runs
KSEG_HARNESS(paste_masks_rle) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto masks = call.array<const T, 3>(0);
    const auto boxes = call.array<const float, 2>(1);
    const auto splits = call.array<int64_t, 1>(3);
    const PasteOptions options = options_of(call);
    const auto counts = call.array<int32_t, 1>(2);
    uint32_t* columns = nullptr;
    KSEG_RETURN_IF_ERROR(count_pasted_runs_cuda<T>(masks, boxes, options, splits, &columns, call.context()));
    int64_t count = 0;
    const View<const int64_t, 1> made{splits.data, splits.shape};
    KSEG_RETURN_IF_ERROR(read_run_count_cuda(made, &count, call.context()));
    if (call.integer(4) != 0 && count > counts.shape[0]) return invalid_argument("counts must have ", count, " places");
    return write_pasted_runs_cuda<T>(masks, boxes, options, made, columns, counts, call.context());
  });
}
