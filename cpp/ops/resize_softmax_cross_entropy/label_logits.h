// The logits of each output's own class. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_LABEL_LOGITS_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_LABEL_LOGITS_H_

#include "base/argmax.h"
#include "ops/resize_softmax_cross_entropy/softmax_tile.h"

KSEG_KERNEL_BEGIN

// Values at the four source pixels, interpolated to all outputs of a tile.
KSEG_INLINE VecF bilinear(VecF upper_left, VecF upper_right, VecF lower_left, VecF lower_right, VecF x, VecF y) {
  const VecF left = upper_left + (lower_left - upper_left) * y;
  const VecF right = upper_right + (lower_right - upper_right) * y;
  return left + (right - left) * x;
}

struct TileVectors {
  VecF chunk[kChunks];
};

// The logits of each output's own class.
KSEG_INLINE TileVectors label_logits(const Corners& corners, const int32_t* labels, int32_t common, const float* x,
                                     const float* y) {
  TileVectors result;
  if (common >= 0) {
    const VecF upper_left = splat(corners.upper_left[common]), upper_right = splat(corners.upper_right[common]);
    const VecF lower_left = splat(corners.lower_left[common]), lower_right = splat(corners.lower_right[common]);
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      result.chunk[chunk] = bilinear(upper_left, upper_right, lower_left, lower_right, load(x + chunk * kLanesF),
                                     load(y + chunk * kLanesF));
    }
    return result;
  }
  alignas(KSEG_VECTOR_BYTES) float at[4][kOutputs];
  for (int output = 0; output < kOutputs; ++output) {
    const int32_t label = labels[output] < 0 ? 0 : labels[output];
    at[0][output] = corners.upper_left[label];
    at[1][output] = corners.upper_right[label];
    at[2][output] = corners.lower_left[label];
    at[3][output] = corners.lower_right[label];
  }
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const int first = chunk * kLanesF;
    result.chunk[chunk] = bilinear(load(at[0] + first), load(at[1] + first), load(at[2] + first), load(at[3] + first),
                                   load(x + first), load(y + first));
  }
  return result;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_LABEL_LOGITS_H_
