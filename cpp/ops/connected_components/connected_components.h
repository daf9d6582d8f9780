// Connected components of binary images: labels compact and in raster order of each component's first pixel.
//
// Runs of foreground pixels, not pixels, are what is joined. They are numbered in raster order, and of two sets the one
// with the smaller first run absorbs the other: the root of a set is then the run that holds its first pixel, whatever
// the order in which sets met, so that labels do not depend on how the image was cut among threads.
#ifndef KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_H_
#define KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_H_

#include <cstdint>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int64_t kMostComponentImages = int64_t{1} << 24;

struct ConnectedComponentsArgs {
  View<const uint8_t, 3> masks;  // [N, H, W]; whatever is not 0 is foreground
  int connectivity = 8;  // 4: sides; 8: corners too
  View<int32_t, 3> labels;  // [N, H, W]; 0 is background
  View<int32_t, 1> counts;  // [N]
};

KSEG_API Status connected_components(const ConnectedComponentsArgs& args, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_H_
