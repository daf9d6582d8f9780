// Polygons as COCO rasterises them, read column by column: no mask of theirs is made.
//
// A polygon is closed and thus crosses the middle of a column an even number of times, so that columns do not depend on
// each other: a pixel belongs to it if an odd number of edges cross its column at or above it.
#ifndef KSEG_OPS_CROP_MASKS_POLYGON_MASKS_CUH_
#define KSEG_OPS_CROP_MASKS_POLYGON_MASKS_CUH_

#include <cstdint>

#include "base/cuda/launch.cuh"
#include "ops/rle/polygon_edge.h"
#include "ops/rle/rle.h"

namespace kseg {

// Coordinates on the fine grid. Those beyond the range are cut, what is not a number to its lower end.
template <class T>
__global__ void __launch_bounds__(256) fine_kernel(const T* coordinates, int64_t count, int32_t* fine) {
  for (int64_t i = global_thread(); i < count; i += global_threads()) {
    const double corner = static_cast<double>(coordinates[i]);
    const double low = corner > -kMostPolygonCoordinate ? corner : -kMostPolygonCoordinate;
    fine[i] = static_cast<int32_t>(fine_coordinate(low < kMostPolygonCoordinate ? low : kMostPolygonCoordinate));
  }
}

// Splits that fall or leave the range are cut.
struct PolygonMasks {
  const int32_t* fine;
  int64_t coordinates;
  const int64_t* polygon_splits;
  int64_t polygons;
  const int64_t* mask_splits;

  static constexpr int kRows = 32;  // of a column, that are kept as bits

  static KSEG_DEVICE int64_t cut(int64_t split, int64_t most) { return max(min(split, most), static_cast<int64_t>(0)); }

  // Rows [first, first + kRows) of a column of one polygon, the first one in the lowest bit.
  KSEG_DEVICE uint32_t polygon_bits(int64_t polygon, int64_t x, int64_t first, int64_t height) const {
    const int64_t begin = cut(polygon_splits[polygon], coordinates);
    const int64_t points = (cut(polygon_splits[polygon + 1], coordinates) - begin) / 2;
    if (points < 3) return 0;
    const int32_t* const corners = fine + begin;
    const int64_t left = left_of_middle(x);
    uint32_t bits = 0;
    int64_t next = 0, last = points - 1;
    bool beyond = corners[2 * last] > left;
    while (true) {
      // First to an edge that crosses, then its crossing: so that the lanes of a warp, each with a column of its own,
      // compute crossings together.
      bool crosses = false;
      for (; next < points && !crosses; last = next++) {
        const bool next_beyond = corners[2 * next] > left;
        crosses = next_beyond != beyond;
        beyond = next_beyond;
      }
      if (!crosses) return bits;
      const int64_t from = last > 0 ? last - 1 : points - 1;
      const PolygonEdge edge({corners[2 * from], corners[2 * from + 1]}, {corners[2 * last], corners[2 * last + 1]});
      const int64_t row = edge.row(x, height) - first;
      bits ^= row <= 0 ? ~0u : row < kRows ? ~0u << row : 0u;
    }
  }

  // The same of the union of a mask's polygons.
  KSEG_DEVICE uint32_t bits(int64_t mask, int64_t x, int64_t first, int64_t height) const {
    uint32_t all = 0;
    const int64_t end = cut(mask_splits[mask + 1], polygons);
    for (int64_t polygon = cut(mask_splits[mask], polygons); polygon < end; ++polygon) {
      all |= polygon_bits(polygon, x, first, height);
    }
    return all;
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_CROP_MASKS_POLYGON_MASKS_CUH_
