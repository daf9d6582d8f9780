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

// Brings one row of outputs into row `row` of the tiles; places without an output get `fill`.
template <class N>
void to_tiles(const N* from, const ResizeRun* runs, int64_t count, int row, N fill, N* tiles) {
  N* to = tiles + row * kRunLength;
  for (int64_t run = 0; run < count; ++run, to += kRunLength * kRunLength) {
    const N* const begin = from + runs[run].begin;
    if (runs[run].count == kRunLength) {
      std::memcpy(to, begin, sizeof(N) * kRunLength);
      continue;
    }
    for (int i = 0; i < kRunLength; ++i) to[i] = i < runs[run].count ? begin[i] : fill;
  }
}

template <class N>
void fill_tiles(int64_t count, int row, N fill, N* tiles) {
  N* to = tiles + row * kRunLength;
  for (int64_t run = 0; run < count; ++run, to += kRunLength * kRunLength) {
    for (int i = 0; i < kRunLength; ++i) to[i] = fill;
  }
}

KSEG_INLINE void from_tiles(const float* tiles, const ResizeRun* runs, int64_t count, int row, float* to) {
  const float* from = tiles + row * kRunLength;
  for (int64_t run = 0; run < count; ++run, from += kRunLength * kRunLength) {
    float* const begin = to + runs[run].begin;
    if (runs[run].count == kRunLength) {
      std::memcpy(begin, from, sizeof(float) * kRunLength);
      continue;
    }
    for (int i = 0; i < runs[run].count; ++i) begin[i] = from[i];
  }
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
