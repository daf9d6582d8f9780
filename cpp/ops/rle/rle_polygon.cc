#include "ops/rle/rle.h"

// COCO's rasterisation of a polygon: corners on a grid five times as fine as the pixels, edges as steps of that grid,
// and a change of the mask wherever an edge crosses the middle of a column. COCO walks over every step of every edge;
// here each crossing is found by itself, with the same arithmetic.

#include <algorithm>
#include <cmath>
#include <utility>

// Which step an edge takes is decided by truncating a rounded product and sum. A fused multiply-add would round
// differently from COCO's library, so there is none in this file.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace kseg {
namespace {

constexpr int64_t kScale = 5;
// Bounds time and memory: an image may be 2**31 pixels wide, and every edge may cross all of it.
constexpr int64_t kMostCrossings = int64_t{1} << 27;

struct Point {
  int64_t x, y;
};

// The row below which the column of a crossing changes: the first pixel whose centre lies at or below a fine row.
int64_t row_of(int64_t fine, int64_t height) {
  const double row = (static_cast<double>(fine) + 0.5) / kScale - 0.5;
  if (row < 0) return 0;
  if (row > static_cast<double>(height)) return height;
  return static_cast<int64_t>(std::ceil(row));
}

// The columns whose middle, between the fine columns 5x + 2 and 5x + 3, lies between fine columns low and high.
std::pair<int64_t, int64_t> columns_between(int64_t low, int64_t high, int64_t width) {
  const int64_t first = low <= 2 ? 0 : (low - 2 + kScale - 1) / kScale;
  const int64_t stop = high < 3 ? 0 : (high - 3) / kScale + 1;
  return {first, std::min(stop, width)};
}

// Adds a position for every column that the edge crosses.
void cross_edge(Point from, Point to, int64_t height, int64_t width, std::vector<uint32_t>* positions) {
  const int64_t dx = std::abs(to.x - from.x), dy = std::abs(to.y - from.y);
  const bool flat = dx >= dy;
  if (flat ? from.x > to.x : from.y > to.y) std::swap(from, to);
  const auto [first, stop] = columns_between(std::min(from.x, to.x), std::max(from.x, to.x), width);
  if (flat) {
    const double slope = static_cast<double>(to.y - from.y) / static_cast<double>(dx);
    const double start = static_cast<double>(from.y);
    const auto fine_row = [&](int64_t step) {
      return static_cast<int64_t>(start + slope * static_cast<double>(step) + 0.5);
    };
    for (int64_t x = first; x < stop; ++x) {
      const int64_t step = kScale * x + 2 - from.x;
      positions->push_back(
          static_cast<uint32_t>(x * height + row_of(std::min(fine_row(step), fine_row(step + 1)), height)));
    }
    return;
  }
  const double slope = static_cast<double>(to.x - from.x) / static_cast<double>(dy);
  const double start = static_cast<double>(from.x);
  const auto fine_column = [&](int64_t step) {
    return static_cast<int64_t>(start + slope * static_cast<double>(step) + 0.5);
  };
  for (int64_t x = first; x < stop; ++x) {
    // The first step beyond the middle. Rounding keeps fine_column monotonic, so a guess can be put right step by step.
    const int64_t left = kScale * x + 2;
    const auto beyond = [&](int64_t step) { return slope > 0 ? fine_column(step) > left : fine_column(step) <= left; };
    const double guess = (static_cast<double>(left) + 0.5 - start) / slope;
    int64_t step = static_cast<int64_t>(std::clamp(guess, 1.0, static_cast<double>(dy)));
    while (step > 1 && beyond(step - 1)) --step;
    while (step < dy && !beyond(step)) ++step;
    positions->push_back(static_cast<uint32_t>(x * height + row_of(from.y + step - 1, height)));
  }
}

}  // namespace

Status rle_from_polygon(const double* corners, int64_t points, Rle* rle) {
  for (int64_t i = 0; i < 2 * points; ++i) {
    if (!(std::fabs(corners[i]) <= kMostPolygonCoordinate)) {
      return invalid_argument("must be finite and within ", static_cast<int64_t>(kMostPolygonCoordinate),
                              " pixels of the origin, got ", corners[i], " at position ", i);
    }
  }
  const int64_t height = rle->height, width = rle->width;
  const auto fine = [&](int64_t i) {
    return Point{static_cast<int64_t>(kScale * corners[2 * i] + 0.5),
                 static_cast<int64_t>(kScale * corners[2 * i + 1] + 0.5)};
  };
  const auto edge = [&](int64_t i) { return std::pair<Point, Point>(fine(i), fine(i + 1 < points ? i + 1 : 0)); };
  int64_t crossings = 0;
  for (int64_t i = 0; i < points && height > 0; ++i) {
    const auto [from, to] = edge(i);
    const auto [first, stop] = columns_between(std::min(from.x, to.x), std::max(from.x, to.x), width);
    crossings += std::max<int64_t>(0, stop - first);
  }
  if (crossings > kMostCrossings) {
    return invalid_argument("must cross at most ", kMostCrossings, " columns of pixels in all, got ", crossings);
  }
  std::vector<uint32_t> positions;
  positions.reserve(static_cast<size_t>(crossings));
  for (int64_t i = 0; i < points && height > 0; ++i) {
    const auto [from, to] = edge(i);
    cross_edge(from, to, height, width, &positions);
  }
  std::sort(positions.begin(), positions.end());
  rle->counts.clear();
  uint32_t last = 0;
  for (size_t i = 0; i < positions.size();) {
    size_t next = i + 1;
    while (next < positions.size() && positions[next] == positions[i]) ++next;
    if ((next - i) % 2 == 1) {  // two changes at one place are none
      rle->counts.push_back(positions[i] - last);
      last = positions[i];
    }
    i = next;
  }
  const uint32_t pixels = static_cast<uint32_t>(height * width);
  if (last < pixels || rle->counts.empty()) rle->counts.push_back(pixels - last);
  return Status();
}

}  // namespace kseg
