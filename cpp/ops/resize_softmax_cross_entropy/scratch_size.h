// The memory that a thread needs for one block of work.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SCRATCH_SIZE_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SCRATCH_SIZE_H_

#include <algorithm>
#include <cstdint>

#include "ops/resize_softmax_cross_entropy/resize_runs.h"

namespace kseg {

inline constexpr int kMostBatch = 8;
inline constexpr int64_t kBatchFloats = 4096;

struct ScratchSize {
  int64_t width = 0;  // source pixels of a row
  int64_t padded = 0;  // classes, rounded up to whole vectors
  int64_t columns = 0;  // tiles of a row
  int64_t out_width = 0;
  bool gradient = false;
  bool dice = false;
  bool loss = false;  // with a gradient, too

  static int64_t rounded(int64_t floats) { return (floats + 15) / 16 * 16; }

  // Floats of each piece; pieces start at whole cache lines.
  int64_t row() const { return rounded(width * padded); }
  int64_t pixels() const { return rounded(width); }
  int64_t tiles() const { return columns * kRunLength * kRunLength; }
  int64_t line() const { return rounded(out_width); }
  int64_t kept() const { return gradient || dice ? padded * kRunLength * kRunLength : 0; }

  // Tiles that are worked on side by side, and of them those whose exponentials are kept: together they should stay in
  // the first-level cache.
  int batch() const { return fitting(4 * padded); }
  int kept_batch() const { return fitting(kept()); }
  static int fitting(int64_t floats) {
    return static_cast<int>(std::clamp<int64_t>(kBatchFloats / (floats + 1), 1, kMostBatch));
  }

  int64_t floats() const {
    int64_t count = 2 * row() + 4 * pixels();             // two rows of source pixels, their least values and means
    if (gradient) count += 2 * row() + 2 * pixels();      // their gradients
    count += batch() * 4 * padded + kept_batch() * kept();  // progressions and exponentials
    count += tiles() * (1 + (loss ? 2 : 0) + (gradient ? 2 : 0) + (dice ? 1 : 0));  // as TileRow
    count += rounded(columns) + 2 * line();
    if (dice) count += 3 * rounded(padded);
    return count;
  }
};

// Source rows of a block: it must depend on nothing but the height, because blocks decide in which order numbers are
// added up. Small enough for many threads, large enough for the row that two blocks share not to matter.
inline int64_t block_rows(int64_t height) {
  const int64_t rows = (height + 15) / 16;
  return rows < 1 ? 1 : rows > 16 ? 16 : rows;
}

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SCRATCH_SIZE_H_
