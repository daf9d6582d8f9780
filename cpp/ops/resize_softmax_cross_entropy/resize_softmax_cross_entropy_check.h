// What both directions check, on the CPU and for a GPU.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CHECK_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CHECK_H_

#include <cmath>
#include <cstdint>

#include "base/status.h"
#include "base/view.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"

namespace kseg {

// Positions along an axis are listed, with some 64 bytes each; and products of extents must not overflow.
inline constexpr int64_t kMostResizePerAxis = int64_t{1} << 24;

inline Status check_softmax_attributes(const ResizeSoftmaxOptions& options, int64_t channels) {
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

inline Status check_softmax_arrays(const Shape<3>& labels, const Shape<4>& logits, const ResizeSoftmaxOptions& options,
                                   const Shape<3>* pixel_weights) {
  KSEG_RETURN_IF_ERROR(check_softmax_attributes(options, logits[3]));
  if (logits[1] < 1 || logits[2] < 1 || logits[3] < 1) {
    return invalid_argument("logits must have a height, a width and a number of classes of at least 1, got shape ",
                            to_string<4>(logits));
  }
  if (logits[1] > kMostResizePerAxis || logits[2] > kMostResizePerAxis || logits[3] > kMostResizePerAxis) {
    return invalid_argument("logits must have at most 2^24 rows, columns and classes, got shape ",
                            to_string<4>(logits));
  }
  if (labels[0] != logits[0]) {
    return invalid_argument("labels must have the batch size of logits, ", logits[0], ", got shape ",
                            to_string<3>(labels));
  }
  if (labels[1] > kMostResizePerAxis || labels[2] > kMostResizePerAxis) {
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

template <class T>
Status check_softmax_call(const ResizeSoftmaxArgs<T>& args) {
  return check_softmax_arrays(args.labels.shape, args.logits.shape, args.options,
                              args.dice ? &args.pixel_weights.shape : nullptr);
}

template <class T>
Status check_softmax_call(const ResizeSoftmaxGradArgs<T>& args) {
  KSEG_RETURN_IF_ERROR(check_softmax_arrays(args.labels.shape, args.logits.shape, args.options,
                                            args.dice ? &args.pixel_weights.shape : nullptr));
  if (args.loss_gradient.shape != args.labels.shape) {
    return invalid_argument("loss_gradient must have the shape of labels, ", to_string<3>(args.labels.shape), ", got ",
                            to_string<3>(args.loss_gradient.shape));
  }
  const Shape<3> sums{args.logits.shape[0], kDiceSums, resize_softmax_classes(args.logits.shape[3])};
  if (args.dice && args.sums_gradient.shape != sums) {
    return invalid_argument("sums_gradient must have shape ", to_string<3>(sums), ", got ",
                            to_string<3>(args.sums_gradient.shape));
  }
  if (args.unit_gradient.data != nullptr && args.unit_gradient.shape != args.logits.shape) {
    return invalid_argument("unit_gradient must have the shape of logits, ", to_string<4>(args.logits.shape), ", got ",
                            to_string<4>(args.unit_gradient.shape));
  }
  return Status();
}

// Beyond this, numbers belong to the paths that mind the range of float.
inline constexpr float kMostUnitFactor = 1e12f;

// Whether a unit gradient with these class weights has not left the range of float.
inline bool has_moderate_weights(const ResizeSoftmaxOptions& options) {
  for (int64_t i = 0; i < options.class_weight_count; ++i) {
    const float weight = options.class_weights[i];
    if (weight != 0.0f && !(weight >= 1.0f / kMostUnitFactor && weight <= kMostUnitFactor)) return false;
  }
  return true;
}

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_CHECK_H_
