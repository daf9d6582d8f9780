// The argmax over classes of bilinearly resized logits, without the resized logits.
#ifndef KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_H_
#define KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_H_

#include <cstdint>

#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

template <class T>
struct ResizeArgmaxArgs {
  View<const T, 4> logits;   // [batch, height, width, classes]
  View<int32_t, 3> classes;  // [batch, new height, new width]
  // False: half-pixel centres, as tf.image.resize. True: the corner pixels' centres stay where they are.
  bool align_corners = false;
};

// Logits are taken as floats clipped to +-1e30, and NaN as -1e30: so every interpolated value is a number. Of equal
// values the lowest class wins. T: float, Half, BFloat16, double (narrowed to float).
template <class T>
KSEG_API Status resize_argmax(const ResizeArgmaxArgs<T>& args, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_ARGMAX_RESIZE_ARGMAX_H_
