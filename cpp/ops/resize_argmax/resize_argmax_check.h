// What resize_argmax checks, on the CPU and for a GPU.
#ifndef KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CHECK_H_
#define KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CHECK_H_

#include <cstdint>
#include <limits>

#include "base/status.h"
#include "base/view.h"

namespace kseg {

inline Status check_resize_argmax(const Shape<4>& logits, const Shape<3>& classes) {
  if (logits[1] < 1 || logits[2] < 1 || logits[3] < 1) {
    return invalid_argument("logits must have a height, a width and a number of classes of at least 1, got shape ",
                            to_string<4>(logits));
  }
  if (logits[3] > std::numeric_limits<int32_t>::max() / 2) {
    return invalid_argument("logits must have at most 2^30 classes, got shape ", to_string<4>(logits));
  }
  if (classes[1] < 1 || classes[2] < 1) {
    return invalid_argument("size must be at least 1 x 1, got ", classes[1], " x ", classes[2]);
  }
  if (classes[0] != logits[0]) {
    return invalid_argument("classes must have the batch size of logits, ", logits[0], ", got ", classes[0]);
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_CHECK_H_
