// One axis of a bilinear resize, cut into runs of outputs that lie evenly between the same two source pixels.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_RUNS_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_RUNS_H_

#include <cstdint>
#include <vector>

namespace kseg {

// At most this many outputs per axis in a run.
inline constexpr int kRunLength = 4;

struct ResizeRun {
  int64_t lower = 0;  // source pixels: value = source[lower] + (source[upper] - source[lower]) * lerp
  int64_t upper = 0;  // lower + 1; or lower, where the other would have no weight
  int64_t begin = 0;  // first output
  int count = 0;      // outputs
  float first = 0.0f;  // lerp of the first output
  float step = 0.0f;   // from one output to the next
  float lerps[kRunLength] = {};  // past `count` the last one again
  // How far outside [0, 1] four steps lead, as a factor: the largest of 1 and the lerps of four outputs. 1 where both
  // source pixels are the same.
  float reach = 1.0f;
};

// Positions are exact fractions, rounded once: tf.image.resize computes them in float32, which for sizes that are not
// powers of two costs up to 1e-5 of a pixel.
std::vector<ResizeRun> resize_runs(int64_t in_size, int64_t out_size, bool align_corners);

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_RESIZE_RUNS_H_
