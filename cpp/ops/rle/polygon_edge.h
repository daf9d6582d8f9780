// COCO's rasterisation of a polygon, edge by edge: corners on a grid five times as fine as the pixels, edges as steps
// of that grid, and a change of the mask wherever an edge crosses the middle of a column. COCO walks over every step of
// every edge; here each crossing is found by itself, with the same arithmetic, on the CPU and on a GPU.
//
// Which step an edge takes is decided by truncating a rounded product and sum. A fused multiply-add would round
// differently from COCO's library: who includes this sees to it that the compiler makes none.
#ifndef KSEG_OPS_RLE_POLYGON_EDGE_H_
#define KSEG_OPS_RLE_POLYGON_EDGE_H_

#include <cmath>
#include <cstdint>

#include "base/cuda/launch_shape.h"

namespace kseg {

inline constexpr int64_t kPolygonScale = 5;

struct FinePoint {
  int64_t x, y;
};

// A corner's coordinate, at most kMostPolygonCoordinate.
KSEG_HOST_DEVICE inline int64_t fine_coordinate(double corner) {
  return static_cast<int64_t>(kPolygonScale * corner + 0.5);
}

// The middle of column x lies between this fine column and the next one.
KSEG_HOST_DEVICE inline int64_t left_of_middle(int64_t x) { return kPolygonScale * x + 2; }

class PolygonEdge {
 public:
  KSEG_HOST_DEVICE PolygonEdge(FinePoint from, FinePoint to) {
    const int64_t dx = from.x < to.x ? to.x - from.x : from.x - to.x;
    const int64_t dy = from.y < to.y ? to.y - from.y : from.y - to.y;
    flat_ = dx >= dy;
    const bool turned = flat_ ? from.x > to.x : from.y > to.y;
    from_ = turned ? to : from;
    start_ = static_cast<double>(flat_ ? from_.y : from_.x);
    steps_ = flat_ ? dx : dy;
    const int64_t rise = flat_ ? to.y - from.y : to.x - from.x;
    slope_ = static_cast<double>(turned ? -rise : rise) / static_cast<double>(steps_);
  }

  // The first pixel of column x, of 0..height, at or below the place where the edge crosses the column's middle, as it
  // must.
  KSEG_HOST_DEVICE int64_t row(int64_t x, int64_t height) const {
    const int64_t left = left_of_middle(x);
    if (flat_) {
      const int64_t above = value(left - from_.x), below = value(left - from_.x + 1);
      return row_of(above < below ? above : below, height);
    }
    // The first step beyond the middle. Rounding keeps value() monotonic, so a guess can be put right step by step.
    const auto beyond = [&](int64_t step) { return slope_ > 0 ? value(step) > left : value(step) <= left; };
    const double guess = (static_cast<double>(left) + 0.5 - start_) / slope_;
    const double most = static_cast<double>(steps_);
    int64_t step = static_cast<int64_t>(guess < 1.0 ? 1.0 : guess > most ? most : guess);
    while (step > 1 && beyond(step - 1)) --step;
    while (step < steps_ && !beyond(step)) ++step;
    return row_of(from_.y + step - 1, height);
  }

 private:
  // Where the edge is after so many steps along its longer side.
  KSEG_HOST_DEVICE int64_t value(int64_t step) const {
    return static_cast<int64_t>(start_ + slope_ * static_cast<double>(step) + 0.5);
  }

  // The first pixel whose centre lies at or below a fine row.
  static KSEG_HOST_DEVICE int64_t row_of(int64_t fine, int64_t height) {
    const double row = (static_cast<double>(fine) + 0.5) / kPolygonScale - 0.5;
    if (row < 0) return 0;
    if (row > static_cast<double>(height)) return height;
    return static_cast<int64_t>(std::ceil(row));
  }

  FinePoint from_;  // the end from which steps are counted, upwards along the longer side
  int64_t steps_;
  double start_;  // across it
  double slope_;
  bool flat_;
};

}  // namespace kseg

#endif  // KSEG_OPS_RLE_POLYGON_EDGE_H_
