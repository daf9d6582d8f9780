// The exact Euclidean distance of each foreground pixel to the nearest background pixel, in linear time.
//
// Squared distances separate by axis. Along columns the nearest pixel of the other kind is a running count; along rows
// the squared distance is the lower envelope of one parabola per column (Meijster, Roerdink and Hesselink 2000;
// Felzenszwalb and Huttenlocher 2012).
#ifndef KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_H_
#define KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_H_

#include <cstdint>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// Below these sides the squared distances of unit spacing are exact in double and in int32.
inline constexpr int64_t kMostDistanceSide = (int64_t{1} << 26) - 1;
inline constexpr int64_t kMostShortSide = (int64_t{1} << 15) - 1;
inline constexpr double kMostSpacing = 1152921504606846976.0;  // 2**60; the least is its inverse

struct DistanceTransformArgs {
  View<const uint8_t, 3> masks;  // [N, H, W]; whatever is not 0 is foreground
  double row_spacing = 1;
  double column_spacing = 1;
  bool is_signed = false;      // background too, with minus its distance to the foreground
  View<float, 3> distances;    // [N, H, W]
  View<int32_t, 4> indices{};  // [N, H, W, 2], row and column of the nearest pixel; not wanted if data is null
};

KSEG_API Status distance_transform(const DistanceTransformArgs& args, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_H_
