// What confusion_matrix checks, on the CPU and for a GPU.
#ifndef KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CHECK_H_
#define KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CHECK_H_

#include "base/status.h"
#include "ops/confusion_matrix/confusion_matrix.h"

namespace kseg {

inline Status check_class_count(int64_t classes) {
  if (classes >= 1 && classes <= kMostConfusionClasses) return Status();
  return invalid_argument("num_classes must be in 1..", kMostConfusionClasses, ", got ", classes);
}

inline Status check_confusion_arguments(const ConfusionMatrixArgs& args) {
  const int64_t classes = args.counts.shape[0];
  KSEG_RETURN_IF_ERROR(check_class_count(classes));
  if (args.labels.floating()) return invalid_argument("labels must be of an integer type");
  if (args.predictions.floating() && args.channels != classes && !(args.channels == 1 && classes == 2)) {
    return invalid_argument("the last axis of logits must be num_classes=", classes,
                            classes == 2 ? " (or 1: a sigmoid logit)" : "", ", got ", args.channels);
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_CONFUSION_MATRIX_CONFUSION_MATRIX_CHECK_H_
