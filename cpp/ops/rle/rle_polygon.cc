#include "ops/rle/rle.h"

#include <algorithm>
#include <cmath>
#include <utility>

// See polygon_edge.h: there is no fused multiply-add in this file.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
#include "ops/rle/polygon_edge.h"

namespace kseg {
namespace {

// Bounds time and memory: an image may be 2**31 pixels wide, and every edge may cross all of it.
constexpr int64_t kMostCrossings = int64_t{1} << 27;

// The columns whose middle, between the fine columns 5x + 2 and 5x + 3, lies between fine columns low and high.
std::pair<int64_t, int64_t> columns_between(int64_t low, int64_t high, int64_t width) {
  const int64_t first = low <= 2 ? 0 : (low - 2 + kPolygonScale - 1) / kPolygonScale;
  const int64_t stop = high < 3 ? 0 : (high - 3) / kPolygonScale + 1;
  return {first, std::min(stop, width)};
}

// Adds a position for every column that the edge crosses.
void cross_edge(FinePoint from, FinePoint to, int64_t height, int64_t width, std::vector<uint32_t>* positions) {
  const auto [first, stop] = columns_between(std::min(from.x, to.x), std::max(from.x, to.x), width);
  const PolygonEdge edge(from, to);
  for (int64_t x = first; x < stop; ++x) positions->push_back(static_cast<uint32_t>(x * height + edge.row(x, height)));
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
    return FinePoint{fine_coordinate(corners[2 * i]), fine_coordinate(corners[2 * i + 1])};
  };
  const auto edge = [&](int64_t i) {
    return std::pair<FinePoint, FinePoint>(fine(i), fine(i + 1 < points ? i + 1 : 0));
  };
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
