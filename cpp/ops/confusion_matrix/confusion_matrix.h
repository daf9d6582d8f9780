// Counts pairs of true and predicted class, the prediction being the argmax of logits or a class already.
#ifndef KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_H_
#define KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_H_

#include <cstdint>

#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// The table of counts of this many classes takes 2 GiB.
inline constexpr int64_t kMostConfusionClasses = 16384;

// Labels and predictions vary in type independently, so they travel as a type and an address.
struct ConfusionInput {
  enum class Type { kUint8, kInt8, kUint16, kInt32, kInt64, kHalf, kBFloat16, kFloat, kDouble };
  Type type = Type::kInt32;
  const void* data = nullptr;

  bool floating() const { return type >= Type::kHalf; }

  static ConfusionInput of(const uint8_t* data) { return {Type::kUint8, data}; }
  static ConfusionInput of(const int8_t* data) { return {Type::kInt8, data}; }
  static ConfusionInput of(const uint16_t* data) { return {Type::kUint16, data}; }
  static ConfusionInput of(const int32_t* data) { return {Type::kInt32, data}; }
  static ConfusionInput of(const int64_t* data) { return {Type::kInt64, data}; }
  static ConfusionInput of(const Half* data) { return {Type::kHalf, data}; }
  static ConfusionInput of(const BFloat16* data) { return {Type::kBFloat16, data}; }
  static ConfusionInput of(const float* data) { return {Type::kFloat, data}; }
  static ConfusionInput of(const double* data) { return {Type::kDouble, data}; }
};

struct ConfusionMatrixArgs {
  int64_t pixels = 0;
  ConfusionInput labels;       // [pixels], an integer type
  ConfusionInput predictions;  // floating: logits [pixels, channels]; integer: classes [pixels]
  int64_t channels = 0;  // of logits: the number of classes; or 1 for two classes: class 1 where the logit is above 0
  bool has_ignore_index = false;
  int64_t ignore_index = 0;  // pixels with this label are not counted
  View<int64_t, 2> counts;  // [classes, classes], rows truth, columns prediction; overwritten
};

// Of equal logits the lowest class wins; NaN counts as -infinity. InvalidArgument at a label that is neither a class
// nor ignore_index, and at a predicted class out of range under a counted label; `counts` is then unspecified.
KSEG_API Status confusion_matrix(const ConfusionMatrixArgs& args, const ParallelFor& parallel_for);

// What confusion_matrix() demands of the number of classes, for callers that must allocate `counts` first.
KSEG_API Status check_confusion_classes(int64_t classes);

}  // namespace kseg

#endif  // KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_H_
