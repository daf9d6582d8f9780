// What steps along rows and columns add to a squared distance.
#ifndef KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_WEIGHTS_H_
#define KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_WEIGHTS_H_

#include <cmath>
#include <cstdint>

namespace kseg {

// What a step costs: the squared distance is unit * (row * rows**2 + column * columns**2).
struct DistanceWeights {
  double row = 1;
  double column = 1;
  double unit = 1;
};

// `row` and `column` are whole numbers where the squared spacings have a ratio of small ones, as all common spacings
// do. Squared distances are then exact for sides of up to 2**15, and no two that are equal compare as different.
//
// kseg_ops/reference/distance_transform.py takes the same steps: the two must agree on which spacings become whole.
inline DistanceWeights distance_weights(double row_spacing, double column_spacing) {
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

#endif  // KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_WEIGHTS_H_
