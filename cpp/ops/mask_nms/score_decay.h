// The Gaussian that soft and matrix NMS multiply scores with, the same to the last bit wherever it is computed.
#ifndef KSEG_OPS_MASK_NMS_SCORE_DECAY_H_
#define KSEG_OPS_MASK_NMS_SCORE_DECAY_H_

#include <cstdint>
#include <limits>

#include "base/half.h"

namespace kseg {

// Subnormal numbers count as 0: TensorFlow's threads read them so, and others do not.
inline float without_subnormals(float value) { return (float_to_bits(value) & 0x7f800000u) == 0 ? 0.0f : value; }

// score * exp(-exponent / sigma), in steps that round the same with and without fused multiply-add, which keeps every
// decision equal to the reference's: exp2 of the fraction is a polynomial in integers of 30 fractional bits.
class ScoreDecay {
 public:
  explicit ScoreDecay(float sigma) : per_unit_(1.4426950408889634 / static_cast<double>(sigma)) {}

  // `exponent` is not negative and not NaN.
  float operator()(float score, double exponent) const {
    // (-ln 2)**n / n!
    constexpr int64_t kSeries[] = {1073741824, -744261118, 257941248, -59597083, 10327387, -1431680,
                                   165394,     -16377,     1419,      -109,      8};
    constexpr int64_t kOne = int64_t{1} << 30;
    const double halvings = exponent * per_unit_;
    if (!(halvings < 126)) return 0.0f;
    const int64_t fixed = static_cast<int64_t>(halvings * static_cast<double>(kOne));
    const int64_t fraction = fixed & (kOne - 1);
    int64_t power = kSeries[10];
    for (int n = 9; n >= 0; --n) power = ((power * fraction) >> 30) + kSeries[n];
    const uint64_t scale_bits = static_cast<uint64_t>(1023 - 30 - (fixed >> 30)) << 52;
    double scale;
    __builtin_memcpy(&scale, &scale_bits, sizeof scale);
    return without_subnormals(static_cast<float>(static_cast<double>(score) * (static_cast<double>(power) * scale)));
  }

 private:
  double per_unit_;
};

}  // namespace kseg

#endif  // KSEG_OPS_MASK_NMS_SCORE_DECAY_H_
