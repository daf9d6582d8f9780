// Softmax cross-entropy, and the sums of the Dice loss, of bilinearly resized logits, without the resized logits.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_H_

#include <cstdint>

#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// Of each image and class: sum(w p [y = c]), sum(w p), sum(w [y = c]) over the pixels that are not void.
inline constexpr int kDiceSums = 3;

// Labels vary in type independently of the logits, so they travel as a type and an address.
struct ResizeLabels {
  enum class Type { kUint8, kInt8, kUint16, kInt32, kInt64 };
  Type type = Type::kInt32;
  const void* data = nullptr;
  Shape<3> shape{};  // [batch, height, width]

  static ResizeLabels of(const uint8_t* data, const Shape<3>& shape) { return {Type::kUint8, data, shape}; }
  static ResizeLabels of(const int8_t* data, const Shape<3>& shape) { return {Type::kInt8, data, shape}; }
  static ResizeLabels of(const uint16_t* data, const Shape<3>& shape) { return {Type::kUint16, data, shape}; }
  static ResizeLabels of(const int32_t* data, const Shape<3>& shape) { return {Type::kInt32, data, shape}; }
  static ResizeLabels of(const int64_t* data, const Shape<3>& shape) { return {Type::kInt64, data, shape}; }
};

struct ResizeSoftmaxOptions {
  bool has_ignore_index = true;
  int64_t ignore_index = 255;  // pixels with this label are void
  const float* class_weights = nullptr;  // [class_weight_count], or none if that is 0
  int64_t class_weight_count = 0;
  float label_smoothing = 0.0f;  // in [0, 1)
  // False: half-pixel centres, as tf.image.resize. True: the corner pixels' centres stay where they are.
  bool align_corners = false;
};

// Logits with one channel are those of a sigmoid: two classes, of which the first has the logit 0.
inline int64_t resize_softmax_classes(int64_t channels) { return channels == 1 ? 2 : channels; }

template <class T>
struct ResizeSoftmaxArgs {
  ResizeLabels labels;
  View<const T, 4> logits;  // [batch, source height, source width, channels]
  ResizeSoftmaxOptions options;
  bool dice = false;
  View<const float, 3> pixel_weights;  // for dice: as the labels, or of extent 1 in any axis
  View<float, 3> loss;                 // result, as the labels
  View<float, 3> sums;                 // result for dice: [batch, kDiceSums, classes]
  // Result without dice and for float only, or null: the gradient of the loss' sum, in the same sweep.
  View<T, 4> unit_gradient;
};

template <class T>
struct ResizeSoftmaxGradArgs {
  ResizeLabels labels;
  View<const T, 4> logits;
  ResizeSoftmaxOptions options;
  bool dice = false;
  View<const float, 3> pixel_weights;
  View<const float, 3> loss_gradient;  // as the labels
  View<const float, 3> sums_gradient;  // for dice
  // Without dice, or null: what the forward direction gave. Where loss_gradient is one number for each image, that
  // times this is the result, which may be the same memory.
  View<const T, 4> unit_gradient;
  View<T, 4> logits_gradient;          // result, as the logits
};

// What needs no array: for callers that allocate results. `channels` may be -1 for unknown.
KSEG_API Status check_resize_softmax(const ResizeSoftmaxOptions& options, int64_t channels);

// What both directions demand of their arrays. `pixel_weights`: their shape, or null without Dice.
KSEG_API Status check_resize_softmax_arrays(const Shape<3>& labels, const Shape<4>& logits,
                                            const ResizeSoftmaxOptions& options, const Shape<3>* pixel_weights);

// Names the first bad label among `count` from `first` on, of which one is bad.
Status bad_label(const ResizeLabels& labels, int64_t first, int64_t count, int64_t classes,
                 const ResizeSoftmaxOptions& options);

// The loss is that of the upsampled logits; 0 at void pixels. Infinite logits count as +-1e30. A NaN makes NaN of the
// loss at every pixel that is not void and has it among its source pixels. InvalidArgument at a label that is neither a
// class nor void. T: float, Half, BFloat16; everything is computed in float, totals over the image in double.
template <class T>
KSEG_API Status resize_softmax_cross_entropy(const ResizeSoftmaxArgs<T>& args, const ParallelFor& parallel_for);

// The gradient with respect to the logits; it does not depend on the number of threads.
template <class T>
KSEG_API Status resize_softmax_cross_entropy_grad(const ResizeSoftmaxGradArgs<T>& args,
                                                  const ParallelFor& parallel_for);

// Bytes that a call takes beside its arguments and results, on this many threads.
KSEG_API int64_t resize_softmax_scratch_bytes(const Shape<3>& labels, const Shape<4>& logits, bool gradient, bool dice,
                                              int threads);

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_SOFTMAX_CROSS_ENTROPY_H_
