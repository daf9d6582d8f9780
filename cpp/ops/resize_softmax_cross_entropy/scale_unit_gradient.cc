#include "ops/resize_softmax_cross_entropy/scale_unit_gradient.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_check.h"

namespace kseg {
namespace {

template <class L>
bool is_void(const ResizeLabels& labels, const ResizeSoftmaxOptions& options, int64_t position) {
  return options.has_ignore_index &&
         static_cast<int64_t>(static_cast<const L*>(labels.data)[position]) == options.ignore_index;
}

// The number at all pixels of an image that are not void (0 if all are), or NaN if they differ.
template <class L>
float common_factor(const ResizeSoftmaxGradArgs<float>& args, int64_t image) {
  const int64_t pixels = args.labels.shape[1] * args.labels.shape[2];
  const float* const given = args.loss_gradient.data + image * pixels;
  constexpr int64_t kAtOnce = 1024;
  float factor = 0.0f;
  bool known = false;
  for (int64_t begin = 0; begin < pixels; begin += kAtOnce) {
    const int64_t end = std::min(begin + kAtOnce, pixels);
    if (known) {
      int different = 0;
      for (int64_t i = begin; i < end; ++i) different |= given[i] != factor;
      if (different == 0) continue;
    }
    for (int64_t i = begin; i < end; ++i) {
      if (known && given[i] == factor) continue;
      if (is_void<L>(args.labels, args.options, image * pixels + i)) continue;
      if (known) return NAN;
      factor = given[i];
      known = true;
    }
  }
  return factor;
}

float common_factor(const ResizeSoftmaxGradArgs<float>& args, int64_t image) {
  switch (args.labels.type) {
    case ResizeLabels::Type::kUint8:
      return common_factor<uint8_t>(args, image);
    case ResizeLabels::Type::kInt8:
      return common_factor<int8_t>(args, image);
    case ResizeLabels::Type::kUint16:
      return common_factor<uint16_t>(args, image);
    case ResizeLabels::Type::kInt64:
      return common_factor<int64_t>(args, image);
    case ResizeLabels::Type::kInt32:
      break;
  }
  return common_factor<int32_t>(args, image);
}

}  // namespace

bool scale_unit_gradient(const ResizeSoftmaxGradArgs<float>& args, const ParallelFor& parallel_for) {
  if (!has_moderate_weights(args.options)) return false;
  const int64_t batch = args.logits.shape[0];
  const int64_t pixels = args.labels.shape[1] * args.labels.shape[2];
  std::vector<float> factors(static_cast<size_t>(batch));
  std::atomic<bool> differs{false};
  run_in_pieces(parallel_for, batch, 1, pixels / 8, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end && !differs; ++image) {
      factors[image] = common_factor(args, image);
      // A number that is not finite times 0 would not be 0.
      if (!(std::abs(factors[image]) <= kMostUnitFactor)) differs = true;
    }
  });
  if (differs) return false;
  const int64_t rows = batch * args.logits.shape[1];
  const int64_t row_size = args.logits.shape[2] * args.logits.shape[3];
  constexpr int64_t kRowsAtOnce = 8;
  run_in_pieces(parallel_for, rows, kRowsAtOnce, row_size / 4, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float factor = factors[row / args.logits.shape[1]];
      const float* const from = args.unit_gradient.data + row * row_size;
      float* const to = args.logits_gradient.data + row * row_size;
      for (int64_t i = 0; i < row_size; ++i) to[i] = factor * from[i];
    }
  });
  return true;
}

}  // namespace kseg
