// What the launchers of the distance transform check, on the CPU and for a GPU.
#ifndef KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CHECK_H_
#define KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CHECK_H_

#include "base/status.h"
#include "base/view.h"
#include "ops/distance_transform/distance_transform.h"

namespace kseg {

// Checks what a result's size depends on before memory is allocated for it.
inline Status check_distance_transform(const Shape<3>& masks, double row_spacing, double column_spacing) {
  for (const double spacing : {row_spacing, column_spacing}) {
    if (!(spacing >= 1 / kMostSpacing && spacing <= kMostSpacing)) {
      return invalid_argument("sampling must be in 2**-60..2**60 on both axes, got ", spacing);
    }
  }
  if (masks[1] > kMostDistanceSide || masks[2] > kMostDistanceSide) {
    return invalid_argument("masks must have at most ", kMostDistanceSide, " rows and columns, got shape ",
                            to_string<3>(masks));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_DISTANCE_TRANSFORM_DISTANCE_TRANSFORM_CHECK_H_
