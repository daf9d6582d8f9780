// Labels and other numbers of a row of outputs, brought from rows into tiles and back. Opens the target as
// base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_PIXEL_ROWS_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_PIXEL_ROWS_H_

#include "ops/resize_softmax_cross_entropy/resize_runs.h"

#include "base/argmax.h"
#include "ops/resize_softmax_cross_entropy/softmax_math.h"

KSEG_KERNEL_BEGIN

constexpr int32_t kVoid = -1;

struct LabelRule {
  int32_t classes;
  bool has_ignore_index;
  int64_t ignore_index;
};

// Classes as int32 and kVoid for void pixels; also for labels out of range, and then the result is true.
template <class L>
bool clean_labels(const void* labels, int64_t first, int64_t count, const LabelRule& rule, int32_t* to) {
  using Wide = std::conditional_t<sizeof(L) == 8, int64_t, int32_t>;
  const L* const from = static_cast<const L*>(labels) + first;
  const bool ignores =
      rule.has_ignore_index && static_cast<int64_t>(static_cast<L>(rule.ignore_index)) == rule.ignore_index;
  const Wide classes = rule.classes;
  // A number that no label is, where there is no ignore_index: the same loop serves both.
  const Wide ignored = ignores ? static_cast<Wide>(rule.ignore_index) : classes;
  int32_t strange = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Wide label = static_cast<Wide>(from[i]);
    const bool is_class = (label >= 0) & (label < classes);
    const bool is_ignored = label == ignored;
    to[i] = is_class & !is_ignored ? static_cast<int32_t>(label) : kVoid;
    strange |= !(is_class | (is_ignored & ignores));
  }
  return strange != 0;
}

// The runs of an axis, and a stretch of them that all have kRunLength outputs: those need no look at each.
struct RunRow {
  const ResizeRun* runs;
  int64_t count;
  int64_t full_begin, full_end;

  RunRow(const ResizeRun* runs, int64_t count) : runs(runs), count(count), full_begin(0), full_end(0) {
    for (int64_t begin = 0; begin < count;) {
      int64_t end = begin;
      while (end < count && runs[end].count == kRunLength) ++end;
      if (end - begin > full_end - full_begin) {
        full_begin = begin;
        full_end = end;
      }
      begin = end + 1;
    }
  }
};

// Brings one row of outputs into row `row` of the tiles; places without an output get `fill`.
template <class N>
KSEG_INLINE void some_to_tiles(const N* from, const RunRow& row_of, int64_t begin, int64_t end, N fill, N* to) {
  for (int64_t run = begin; run < end; ++run) {
    const ResizeRun& place = row_of.runs[run];
    N* const tile = to + run * kRunLength * kRunLength;
    for (int i = 0; i < kRunLength; ++i) tile[i] = i < place.count ? from[place.begin + i] : fill;
  }
}
template <class N>
void to_tiles(const N* from, const RunRow& row_of, int row, N fill, N* tiles) {
  N* const to = tiles + row * kRunLength;
  some_to_tiles(from, row_of, 0, row_of.full_begin, fill, to);
  if (row_of.full_begin < row_of.full_end) {
    const N* source = from + row_of.runs[row_of.full_begin].begin;
    N* tile = to + row_of.full_begin * kRunLength * kRunLength;
    for (int64_t left = row_of.full_end - row_of.full_begin; left > 0; --left) {
      std::memcpy(tile, source, sizeof(N) * kRunLength);
      source += kRunLength;
      tile += kRunLength * kRunLength;
    }
  }
  some_to_tiles(from, row_of, row_of.full_end, row_of.count, fill, to);
}

template <class N>
void fill_tiles(int64_t count, int row, N fill, N* tiles) {
  N* to = tiles + row * kRunLength;
  for (int64_t run = 0; run < count; ++run, to += kRunLength * kRunLength) {
    for (int i = 0; i < kRunLength; ++i) to[i] = fill;
  }
}

KSEG_INLINE void some_from_tiles(const float* from, const RunRow& row_of, int64_t begin, int64_t end, float* to) {
  for (int64_t run = begin; run < end; ++run) {
    const ResizeRun& place = row_of.runs[run];
    for (int i = 0; i < place.count; ++i) to[place.begin + i] = from[run * kRunLength * kRunLength + i];
  }
}
KSEG_INLINE void from_tiles(const float* tiles, const RunRow& row_of, int row, float* to) {
  const float* const from = tiles + row * kRunLength;
  some_from_tiles(from, row_of, 0, row_of.full_begin, to);
  if (row_of.full_begin < row_of.full_end) {
    const float* tile = from + row_of.full_begin * kRunLength * kRunLength;
    float* target = to + row_of.runs[row_of.full_begin].begin;
    for (int64_t left = row_of.full_end - row_of.full_begin; left > 0; --left) {
      std::memcpy(target, tile, sizeof(float) * kRunLength);
      target += kRunLength;
      tile += kRunLength * kRunLength;
    }
  }
  some_from_tiles(from, row_of, row_of.full_end, row_of.count, to);
}

// The class that all pixels of a tile have which are not void; kVoid if all are, kMixed if they differ.
constexpr int32_t kMixed = -2;
KSEG_INLINE int32_t common_label(const int32_t* labels) {
  constexpr int kCount = kRunLength * kRunLength;
  VecI differs{};
  for (int i = 0; i < kCount; i += kLanesF) differs |= load(labels + i) != splat(labels[0]);
  if (!any_lane(differs)) return labels[0];
  int32_t most = kVoid;
  for (int i = 0; i < kCount; ++i) most = labels[i] > most ? labels[i] : most;
  for (int i = 0; i < kCount; ++i) {
    if (labels[i] != most && labels[i] != kVoid) return kMixed;
  }
  return most;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_PIXEL_ROWS_H_
