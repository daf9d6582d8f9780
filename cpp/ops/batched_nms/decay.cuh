// How an overlap lowers a score, as decay.h does, to the bit.
#ifndef KSEG_OPS_BATCHED_NMS_DECAY_CUH_
#define KSEG_OPS_BATCHED_NMS_DECAY_CUH_

#include "base/cuda/device.cuh"

namespace kseg {

// exp(-x) for x >= 0; see decay.h. Kernels are compiled without fused products: each step rounds.
KSEG_DEVICE float exp_minus(float x) {
  if (x > 87.0f) return 0.0f;
  if (x < 0x1p-30f) return 1.0f;
  const float halvings = ceilf(x * 1.44269504f);
  const float rest = fmaxf((halvings * 0.693359375f - x) - halvings * 2.12194440e-4f, 0.0f);
  constexpr float kTaylor[] = {1.0f / 40320, 1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24,
                               1.0f / 6,     0.5f,        1.0f,       1.0f};
  float power = 1.0f / 362880;
#pragma unroll
  for (int i = 0; i < 9; ++i) power = power * rest + kTaylor[i];
  return fminf(power * __int_as_float((127 - static_cast<int>(halvings)) << 23), 1.0f);
}

KSEG_DEVICE float gaussian_decay(float squared_iou, float inverse_sigma) {
  return exp_minus(squared_iou * inverse_sigma);
}

}  // namespace kseg

#endif  // KSEG_OPS_BATCHED_NMS_DECAY_CUH_
