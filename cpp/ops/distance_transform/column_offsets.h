// Along columns: how far each pixel is from the nearest one of the other kind in its column. Code of the target.
#ifndef KSEG_OPS_DISTANCE_TRANSFORM_COLUMN_OFFSETS_H_
#define KSEG_OPS_DISTANCE_TRANSFORM_COLUMN_OFFSETS_H_

#include "ops/distance_transform/distance_transform.h"

#include "base/kernel.h"

KSEG_KERNEL_BEGIN
namespace {

// Columns done side by side: a band of a usual image stays in the second-level cache from the way down to the way up.
constexpr int64_t kBandColumns = 128;

// One band. An offset is negative upwards, positive downwards and 0 if the column has no pixel of the other kind; of
// two equally near ones the upper counts.
template <class Offset>
class ColumnBand {
 public:
  void find_offsets(const uint8_t* mask, int64_t height, int64_t width, int64_t first, Offset* offsets) {
    const int64_t count = std::min(kBandColumns, width - first);
    start(mask + first, count);
    for (int64_t y = 0; y < height; ++y) {
      step(mask + y * width + first, count);
      Offset* const to = offsets + y * width + first;
      for (int64_t x = 0; x < count; ++x) to[x] = distance_[x];
    }
    start(mask + (height - 1) * width + first, count);
    for (int64_t y = height - 1; y >= 0; --y) {
      step(mask + y * width + first, count);
      Offset* const to = offsets + y * width + first;
      for (int64_t x = 0; x < count; ++x) {
        const Offset up = to[x], down = distance_[x];
        const Offset negative = static_cast<Offset>(-up);
        // As unsigned numbers, "none" less one is the largest: then both are there or the lower one is not.
        const bool is_up = static_cast<Unsigned>(up - 1) <= static_cast<Unsigned>(down - 1);
        to[x] = is_up ? negative : down;
      }
    }
  }

 private:
  using Unsigned = std::make_unsigned_t<Offset>;

  void start(const uint8_t* row, int64_t count) {
    for (int64_t x = 0; x < count; ++x) {
      kind_[x] = static_cast<Offset>(row[x] != 0);
      distance_[x] = 0;
    }
  }

  void step(const uint8_t* row, int64_t count) {
    for (int64_t x = 0; x < count; ++x) {
      const Offset kind = static_cast<Offset>(row[x] != 0);
      const Offset before = distance_[x];
      const Offset further = static_cast<Offset>(before + (before != 0 ? 1 : 0));
      distance_[x] = kind == kind_[x] ? further : Offset(1);
      kind_[x] = kind;
    }
  }

  Offset kind_[kBandColumns];
  Offset distance_[kBandColumns];
};

}  // namespace
KSEG_KERNEL_END

#endif  // KSEG_OPS_DISTANCE_TRANSFORM_COLUMN_OFFSETS_H_
