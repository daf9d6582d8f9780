// One axis of a bilinear resize, cut into runs of outputs that lie between the same two source pixels.
#ifndef KSEG_OPS_RESIZE_ARGMAX_RESIZE_TILES_H_
#define KSEG_OPS_RESIZE_ARGMAX_RESIZE_TILES_H_

#include <cstdint>
#include <vector>

namespace kseg {

// At most this many outputs per axis in a tile: 4 x 4 of them fill the widest register.
inline constexpr int kTileSide = 4;

struct ResizeTile {
  int64_t lower = 0;  // source pixels: value = source[lower] + (source[upper] - source[lower]) * lerp
  int64_t upper = 0;
  int64_t begin = 0;           // first output
  int count = 0;               // outputs
  float lerp[kTileSide] = {};  // one per output, in [0, 1); past `count` the last one again
};

// Half-pixel centres reproduce the float32 arithmetic of tf.image.resize; aligned corners are exact fractions.
std::vector<ResizeTile> resize_tiles(int64_t in_size, int64_t out_size, bool align_corners);

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_ARGMAX_RESIZE_TILES_H_
