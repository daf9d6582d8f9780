#include "cuda_harness/harness.h"
#include "ops/confusion_matrix/confusion_matrix_cuda.h"

namespace kseg {
namespace {

ConfusionInput input_of(const HarnessCall& call, int64_t index) {
  const void* const data = call.data(index);
  switch (call.dtype(index)) {
    case Dtype::kUint8:
      return ConfusionInput::of(static_cast<const uint8_t*>(data));
    case Dtype::kInt8:
      return ConfusionInput::of(static_cast<const int8_t*>(data));
    case Dtype::kInt64:
      return ConfusionInput::of(static_cast<const int64_t*>(data));
    case Dtype::kFloat32:
      return ConfusionInput::of(static_cast<const float*>(data));
    case Dtype::kFloat16:
      return ConfusionInput::of(static_cast<const Half*>(data));
    case Dtype::kBFloat16:
      return ConfusionInput::of(static_cast<const BFloat16*>(data));
    default:
      return ConfusionInput::of(static_cast<const int32_t*>(data));
  }
}

}  // namespace
}  // namespace kseg

// labels [pixels], predictions [pixels] or [pixels, channels] -> counts; has_ignore_index, ignore_index
KSEG_HARNESS(confusion_matrix) {
  using namespace kseg;
  ConfusionMatrixArgs args;
  args.labels = input_of(call, 0);
  args.predictions = input_of(call, 1);
  args.pixels = call.array<const char, 1>(0).shape[0];
  args.channels = args.predictions.floating() ? call.array<const char, 2>(1).shape[1] : 0;
  args.counts = call.array<int64_t, 2>(2);
  args.has_ignore_index = call.integer(0) != 0;
  args.ignore_index = call.integer(1);
  return confusion_matrix_cuda(args, call.context());
}
