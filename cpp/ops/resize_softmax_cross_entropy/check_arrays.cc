// What needs no instruction set: checks of arguments, and what they say.
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_check.h"
#include "ops/resize_softmax_cross_entropy/scratch_size.h"

namespace kseg {
namespace {

int64_t label_at(const ResizeLabels& labels, int64_t position) {
  switch (labels.type) {
    case ResizeLabels::Type::kUint8:
      return static_cast<const uint8_t*>(labels.data)[position];
    case ResizeLabels::Type::kInt8:
      return static_cast<const int8_t*>(labels.data)[position];
    case ResizeLabels::Type::kUint16:
      return static_cast<const uint16_t*>(labels.data)[position];
    case ResizeLabels::Type::kInt64:
      return static_cast<const int64_t*>(labels.data)[position];
    case ResizeLabels::Type::kInt32:
      break;
  }
  return static_cast<const int32_t*>(labels.data)[position];
}

}  // namespace

Status check_resize_softmax(const ResizeSoftmaxOptions& options, int64_t channels) {
  return check_softmax_attributes(options, channels);
}

Status check_resize_softmax_arrays(const Shape<3>& labels, const Shape<4>& logits, const ResizeSoftmaxOptions& options,
                                   const Shape<3>* pixel_weights) {
  return check_softmax_arrays(labels, logits, options, pixel_weights);
}

Status bad_label(const ResizeLabels& labels, int64_t first, int64_t count, int64_t classes,
                 const ResizeSoftmaxOptions& options) {
  for (int64_t position = first; position < first + count; ++position) {
    const int64_t value = label_at(labels, position);
    if ((value >= 0 && value < classes) || (options.has_ignore_index && value == options.ignore_index)) continue;
    if (options.has_ignore_index) {
      return invalid_argument("labels must be in 0..", classes - 1, " or equal ignore_index=", options.ignore_index,
                              ", got ", value, " at position ", position, " (flattened)");
    }
    return invalid_argument("labels must be in 0..", classes - 1, ", got ", value, " at position ", position,
                            " (flattened); ignore_index is None");
  }
  return Status();
}

int64_t resize_softmax_scratch_bytes(const Shape<3>& labels, const Shape<4>& logits, bool gradient, bool dice,
                                     int threads) {
  ScratchSize size;
  size.width = logits[2];
  size.padded = ScratchSize::rounded(resize_softmax_classes(logits[3]));  // of the widest vectors
  size.columns = static_cast<int64_t>(resize_runs(logits[2], labels[2], false).size());
  size.out_width = labels[2];
  size.gradient = gradient;
  size.dice = dice;
  size.loss = true;  // at most
  const int64_t rows = block_rows(logits[1]);
  const int64_t blocks = logits[0] * ((logits[1] + rows - 1) / rows);
  int64_t floats = threads * size.floats();
  if (gradient) floats += 2 * blocks * logits[2] * logits[3];
  if (dice) floats += 2 * blocks * kDiceSums * resize_softmax_classes(logits[3]);
  return floats * static_cast<int64_t>(sizeof(float));
}

}  // namespace kseg
