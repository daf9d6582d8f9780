// ScoreDecay on a GPU, to the bit.
#ifndef KSEG_OPS_MASK_NMS_SCORE_DECAY_CUH_
#define KSEG_OPS_MASK_NMS_SCORE_DECAY_CUH_

#include <cstdint>

#include "base/cuda/device.cuh"

namespace kseg {

// See score_decay.h. It is double that makes the result the contract's; one of these is computed per mask and pick,
// which is little beside counting pixels.
class DeviceScoreDecay {
 public:
  explicit DeviceScoreDecay(float sigma) : per_unit_(1.4426950408889634 / static_cast<double>(sigma)) {}

  KSEG_DEVICE float operator()(float score, double exponent) const {
    constexpr int64_t kSeries[] = {1073741824, -744261118, 257941248, -59597083, 10327387, -1431680,
                                   165394,     -16377,     1419,      -109,      8};
    constexpr int64_t kOne = int64_t{1} << 30;
    const double halvings = exponent * per_unit_;
    if (!(halvings < 126)) return 0.0f;
    const int64_t fixed = static_cast<int64_t>(halvings * static_cast<double>(kOne));
    const int64_t fraction = fixed & (kOne - 1);
    int64_t power = kSeries[10];
#pragma unroll
    for (int n = 9; n >= 0; --n) power = ((power * fraction) >> 30) + kSeries[n];
    const double scale = __longlong_as_double(static_cast<long long>(1023 - 30 - (fixed >> 30)) << 52);
    const float lowered = static_cast<float>(static_cast<double>(score) * (static_cast<double>(power) * scale));
    return (__float_as_uint(lowered) & 0x7f800000u) == 0 ? 0.0f : lowered;
  }

 private:
  double per_unit_;
};

}  // namespace kseg

#endif  // KSEG_OPS_MASK_NMS_SCORE_DECAY_CUH_
