// What needs no instruction set: checks of arguments, and what they say.
#include <cmath>

#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"
#include "ops/resize_softmax_cross_entropy/scratch_size.h"

namespace kseg {
namespace {

// Positions along an axis are listed, with some 64 bytes each; and products of extents must not overflow.
constexpr int64_t kMostPerAxis = int64_t{1} << 24;

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
  if (!(options.label_smoothing >= 0.0f && options.label_smoothing < 1.0f)) {
    return invalid_argument("label_smoothing must be in [0, 1), got ", options.label_smoothing);
  }
  const int64_t classes = resize_softmax_classes(channels);
  if (options.class_weight_count > 0 && channels >= 0 && options.class_weight_count != classes) {
    return invalid_argument("class_weights must have one entry per class, ", classes, ", got ",
                            options.class_weight_count);
  }
  for (int64_t i = 0; i < options.class_weight_count; ++i) {
    if (!(std::isfinite(options.class_weights[i]) && options.class_weights[i] >= 0.0f)) {
      return invalid_argument("class_weights must be finite and at least 0, got ", options.class_weights[i]);
    }
  }
  return Status();
}

Status check_resize_softmax_arrays(const Shape<3>& labels, const Shape<4>& logits, const ResizeSoftmaxOptions& options,
                                   const Shape<3>* pixel_weights) {
  KSEG_RETURN_IF_ERROR(check_resize_softmax(options, logits[3]));
  if (logits[1] < 1 || logits[2] < 1 || logits[3] < 1) {
    return invalid_argument("logits must have a height, a width and a number of classes of at least 1, got shape ",
                            to_string<4>(logits));
  }
  if (logits[1] > kMostPerAxis || logits[2] > kMostPerAxis || logits[3] > kMostPerAxis) {
    return invalid_argument("logits must have at most 2^24 rows, columns and classes, got shape ",
                            to_string<4>(logits));
  }
  if (labels[0] != logits[0]) {
    return invalid_argument("labels must have the batch size of logits, ", logits[0], ", got shape ",
                            to_string<3>(labels));
  }
  if (labels[1] > kMostPerAxis || labels[2] > kMostPerAxis) {
    return invalid_argument("labels must have at most 2^24 rows and columns, got shape ", to_string<3>(labels));
  }
  if (pixel_weights == nullptr) return Status();
  for (int axis = 0; axis < 3; ++axis) {
    if ((*pixel_weights)[axis] != labels[axis] && (*pixel_weights)[axis] != 1) {
      return invalid_argument("pixel_weights must have the extents of labels, ", to_string<3>(labels),
                              ", or 1 in their place, got shape ", to_string<3>(*pixel_weights));
    }
  }
  return Status();
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
