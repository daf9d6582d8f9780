#include <cmath>

#include "ops/distance_transform/distance_transform.h"

namespace kseg {

// kseg_ops/reference/distance_transform.py takes the same steps: the two must agree on which spacings become whole.
DistanceWeights distance_weights(double row_spacing, double column_spacing) {
  constexpr double kTolerance = 1.0 / (int64_t{1} << 50);  // a few times what squaring and dividing round off
  constexpr double kMost = 1 << 23;  // times squared sides of 2**15 this is 2**53, up to where doubles are whole
  const double row = row_spacing * row_spacing, column = column_spacing * column_spacing;
  const double ratio = row / column;
  // The convergents of the ratio's continued fraction.
  double rest = ratio;
  double numerator = 1, denominator = 0, last_numerator = 0, last_denominator = 1;
  for (;;) {
    const double whole = std::floor(rest);
    const double next_numerator = whole * numerator + last_numerator;
    const double next_denominator = whole * denominator + last_denominator;
    last_numerator = numerator, last_denominator = denominator;
    numerator = next_numerator, denominator = next_denominator;
    if (numerator + denominator > kMost) return {row, column, 1};
    if (numerator > 0 && std::abs(numerator / denominator - ratio) <= kTolerance * ratio) {
      return {numerator, denominator, column / denominator};
    }
    if (rest == whole) return {row, column, 1};
    rest = 1 / (rest - whole);
  }
}

}  // namespace kseg
