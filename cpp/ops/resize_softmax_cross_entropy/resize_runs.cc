#include "ops/resize_softmax_cross_entropy/resize_runs.h"

#include <algorithm>

namespace kseg {
namespace {

// Output i lies at (offset + i * stride) / whole source pixels.
struct Places {
  int64_t offset, stride, whole;
};

Places places_of(int64_t in_size, int64_t out_size, bool align_corners) {
  if (align_corners) return {0, in_size - 1, std::max<int64_t>(out_size - 1, 1)};
  return {in_size - out_size, 2 * in_size, 2 * out_size};  // (i + 1/2) in / out - 1/2
}

struct Position {
  int64_t lower;
  int64_t upper;
  int64_t rest;  // lerp = rest / whole
};

Position position_of(int64_t output, const Places& places, int64_t in_size) {
  const int64_t place = places.offset + output * places.stride;
  if (place <= 0) return {0, 0, 0};  // before the first centre: its value
  const int64_t lower = place / places.whole;
  if (lower >= in_size - 1) return {in_size - 1, in_size - 1, 0};
  return {lower, lower + 1, place % places.whole};
}

}  // namespace

std::vector<ResizeRun> resize_runs(int64_t in_size, int64_t out_size, bool align_corners) {
  const Places places = places_of(in_size, out_size, align_corners);
  const auto fraction = [&](int64_t rest) {
    return static_cast<float>(static_cast<double>(rest) / static_cast<double>(places.whole));
  };
  std::vector<ResizeRun> runs;
  for (int64_t begin = 0; begin < out_size;) {
    const Position start = position_of(begin, places, in_size);
    int64_t end = begin + 1;
    while (end < out_size) {
      const Position next = position_of(end, places, in_size);
      if (next.lower != start.lower || next.upper != start.upper) break;
      ++end;
    }
    // Pieces of nearly equal length: 5 outputs make 3 and 2 rather than 4 and 1.
    const int64_t pieces = (end - begin + kRunLength - 1) / kRunLength;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      ResizeRun run;
      run.begin = begin + (end - begin) * piece / pieces;
      run.count = static_cast<int>(begin + (end - begin) * (piece + 1) / pieces - run.begin);
      const Position first = position_of(run.begin, places, in_size);
      run.lower = first.lower;
      run.upper = run.count == 1 && first.rest == 0 ? first.lower : first.upper;
      if (run.upper != run.lower) {
        run.first = fraction(first.rest);
        run.step = run.count > 1 ? fraction(places.stride) : 0.0f;
        run.reach = std::max(1.0f, run.first + static_cast<float>(kRunLength - 1) * run.step);
        for (int i = 0; i < kRunLength; ++i) {
          run.lerps[i] = fraction(position_of(run.begin + std::min(i, run.count - 1), places, in_size).rest);
        }
      }
      runs.push_back(run);
    }
    begin = end;
  }
  return runs;
}

}  // namespace kseg
