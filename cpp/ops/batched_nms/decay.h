// How an overlap lowers a score. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_BATCHED_NMS_DECAY_H_
#define KSEG_OPS_BATCHED_NMS_DECAY_H_

#include "ops/nms/box_lists.h"

KSEG_KERNEL_BEGIN

// Scores that would become subnormal are dropped.
constexpr float kLeastScore = 0x1p-126f;

// exp(-x) for x >= 0, at most 1 and never subnormal. Libraries differ in the last bit of theirs, which would decide
// between near-equal scores: this one is made of single sums and products, and the reference makes the same.
KSEG_INLINE float exp_minus(float x) {
  if (x > 87.0f) return 0.0f;
  if (x < 0x1p-30f) return 1.0f;  // so that it is all the same whether a subnormal number counts as 0
  const float halvings = __builtin_ceilf(settled(x * 1.44269504f));
  // halvings * ln 2 - x in two parts, the first of which is exact.
  float rest = (settled(halvings * 0.693359375f) - x) - settled(halvings * 2.12194440e-4f);
  rest = rest > 0.0f ? rest : 0.0f;
  constexpr float kTaylor[] = {1.0f / 40320, 1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                               1.0f / 6,     0.5f,        1.0f,       1.0f};
  float power = 1.0f / 362880;
  for (const float coefficient : kTaylor) power = settled(power * rest) + coefficient;
  const int32_t bits = (127 - static_cast<int32_t>(halvings)) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  const float value = power * scale;
  return value < 1.0f ? value : 1.0f;
}

KSEG_INLINE float gaussian_decay(float squared_iou, float inverse_sigma) {
  return exp_minus(settled(squared_iou * inverse_sigma));
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_BATCHED_NMS_DECAY_H_
