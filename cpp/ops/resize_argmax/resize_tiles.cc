#include "ops/resize_argmax/resize_tiles.h"

#include <algorithm>
#include <cmath>

namespace kseg {
namespace {

struct Position {
  int64_t lower;
  int64_t upper;
  float lerp;
};

Position half_pixel_position(int64_t output, float scale, int64_t in_size) {
  const float position = (static_cast<float>(output) + 0.5f) * scale - 0.5f;
  const float floor = std::floor(position);
  const int64_t lower = std::min(static_cast<int64_t>(floor), in_size - 1);
  if (lower < 0) return {0, 0, 0.0f};                     // before the first centre: its value
  if (lower == in_size - 1) return {lower, lower, 0.0f};  // past the last one
  return {lower, lower + 1, position - floor};
}

Position aligned_position(int64_t output, int64_t in_size, int64_t out_size) {
  const int64_t steps = std::max<int64_t>(out_size - 1, 1);
  const int64_t place = output * (in_size - 1);
  const int64_t lower = place / steps;
  if (lower == in_size - 1) return {lower, lower, 0.0f};
  return {lower, lower + 1, static_cast<float>(place % steps) / static_cast<float>(steps)};
}

}  // namespace

std::vector<ResizeTile> resize_tiles(int64_t in_size, int64_t out_size, bool align_corners) {
  std::vector<Position> positions(out_size);
  const float scale = static_cast<float>(in_size) / static_cast<float>(out_size);
  for (int64_t output = 0; output < out_size; ++output) {
    positions[output] =
        align_corners ? aligned_position(output, in_size, out_size) : half_pixel_position(output, scale, in_size);
  }
  std::vector<ResizeTile> tiles;
  for (int64_t begin = 0; begin < out_size;) {
    int64_t end = begin + 1;
    while (end < out_size && positions[end].lower == positions[begin].lower &&
           positions[end].upper == positions[begin].upper) {
      ++end;
    }
    // Pieces of nearly equal length: 5 outputs make 3 and 2 rather than 4 and 1.
    const int64_t pieces = (end - begin + kTileSide - 1) / kTileSide;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      ResizeTile tile;
      tile.lower = positions[begin].lower;
      tile.upper = positions[begin].upper;
      tile.begin = begin + (end - begin) * piece / pieces;
      tile.count = static_cast<int>(begin + (end - begin) * (piece + 1) / pieces - tile.begin);
      for (int i = 0; i < kTileSide; ++i) tile.lerp[i] = positions[tile.begin + std::min(i, tile.count - 1)].lerp;
      tiles.push_back(tile);
    }
    begin = end;
  }
  return tiles;
}

}  // namespace kseg
