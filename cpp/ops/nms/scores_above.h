// Which scores are above a threshold. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_NMS_SCORES_ABOVE_H_
#define KSEG_OPS_NMS_SCORES_ABOVE_H_

#include "ops/nms/box_lists.h"

KSEG_KERNEL_BEGIN

// Bit i % 32 of word i / 32 for score i; 0 for NaN.
inline std::vector<uint32_t> scores_above(const NmsImage& image, float threshold) {
  const int64_t count = image.rows * image.classes;
  const VecF bound = splat(threshold);
  std::vector<uint32_t> words((count + 31) / 32);
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    uint32_t word = 0;
    for (int at = 0; at < 32; at += kLanesF) word |= lanes_above(load(image.scores + i + at), bound) << at;
    words[i / 32] = word;
  }
  for (; i < count; ++i) words[i / 32] |= static_cast<uint32_t>(image.scores[i] > threshold) << i % 32;
  return words;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_NMS_SCORES_ABOVE_H_
