#include "cuda_harness/harness.h"
#include "ops/paste_masks/paste_masks_cuda.h"

// masks, boxes -> pasted; torchvision's mode, threshold, height, width, packed
KSEG_HARNESS(paste_masks) {
  using namespace kseg;
  PasteOptions options;
  options.mode = call.integer(0) != 0 ? PasteMode::kTorchvision : PasteMode::kDetectron2;
  options.threshold = static_cast<float>(call.number(1));
  options.height = call.integer(2);
  options.width = call.integer(3);
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return paste_masks_cuda<T>(call.array<const T, 3>(0), call.array<const float, 2>(1), options, call.integer(4) != 0,
                               call.array<uint8_t, 3>(2), call.context());
  });
}
