#include "ops/confusion_matrix/confusion_matrix.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>

#include "ops/confusion_matrix/confusion_matrix_check.h"

#include "base/kernel.h"
#include "base/argmax.h"                         // target code only
#include "ops/confusion_matrix/logit_winners.h"  // target code only

KSEG_KERNEL_BEGIN

// Pixels go through in blocks, stage by stage: rows of the table, columns of the table, count. The stages are chosen
// once per call, so that no combination of types needs code of its own.
constexpr int64_t kBlock = 256;

// Where the first bad value stands, over all threads.
struct Offender {
  std::mutex mutex;
  int64_t position = std::numeric_limits<int64_t>::max();
  int64_t value = 0;
  bool is_label = false;

  void report(int64_t where, int64_t what, bool label) {
    std::lock_guard<std::mutex> lock(mutex);
    if (where < position || (where == position && label)) {
      position = where;
      value = what;
      is_label = label;
    }
  }
  bool found() const { return position != std::numeric_limits<int64_t>::max(); }
};

template <class T>
KSEG_INLINE VecI load_integers(const T* from) {
  typedef T Narrow __attribute__((vector_size(kLanes<int32_t> * sizeof(T))));
  Narrow narrow;
  std::memcpy(&narrow, from, sizeof narrow);
  return __builtin_convertvector(narrow, VecI);
}

// Turns `count` integers into numbers of 0..classes: itself for a class, and `classes`, the spill row or column, for
// anything else. Returns whether it met a value that is neither a class nor `ignore_index`.
template <class T>
bool classes_of(const void* data, int64_t begin, int64_t count, int32_t classes, bool has_ignore, int64_t ignore,
                int32_t* to) {
  const T* from = static_cast<const T*>(data) + begin;
  // An ignore_index that T cannot hold is never met.
  has_ignore = has_ignore && ignore == static_cast<int64_t>(static_cast<T>(ignore));
  bool bad = false;
  int64_t i = 0;
  if constexpr (sizeof(T) <= sizeof(int32_t)) {
    const VecI spill = splat(classes);
    const VecI first{};
    const VecI ignored = splat(static_cast<int32_t>(static_cast<T>(ignore)));
    const VecI ignoring = splat(has_ignore ? -1 : 0);
    VecI bad_lanes{};
    for (; i + kLanesF <= count; i += kLanesF) {
      const VecI value = load_integers(from + i);
      const VecI is_ignored = (value == ignored) & ignoring;
      const VecI is_class = (value >= first) & (value < spill);
      const VecI keeps = is_class & ~is_ignored;
      store(to + i, (value & keeps) | (spill & ~keeps));
      bad_lanes |= ~(is_class | is_ignored);
    }
    int32_t any = 0;
    for (int lane = 0; lane < kLanesF; ++lane) any |= bad_lanes[lane];
    bad = any != 0;
  }
  for (; i < count; ++i) {
    const int64_t value = static_cast<int64_t>(from[i]);
    const bool is_ignored = has_ignore && value == ignore;
    const bool is_class = static_cast<uint64_t>(value) < static_cast<uint64_t>(classes);
    to[i] = is_class && !is_ignored ? static_cast<int32_t>(value) : classes;
    bad |= !is_class && !is_ignored;
  }
  return bad;
}

using Classes = bool (*)(const void*, int64_t, int64_t, int32_t, bool, int64_t, int32_t*);
using Winners = void (*)(const void*, int64_t, int64_t, int32_t, bool, FloatWinners, int32_t*);

Classes classes_stage(ConfusionInput::Type type) {
  switch (type) {
    case ConfusionInput::Type::kUint8:
      return &classes_of<uint8_t>;
    case ConfusionInput::Type::kInt8:
      return &classes_of<int8_t>;
    case ConfusionInput::Type::kUint16:
      return &classes_of<uint16_t>;
    case ConfusionInput::Type::kInt32:
      return &classes_of<int32_t>;
    default:
      return &classes_of<int64_t>;
  }
}

Winners winners_stage(ConfusionInput::Type type) {
  switch (type) {
    case ConfusionInput::Type::kHalf:
      return &winners_of<Half>;
    case ConfusionInput::Type::kBFloat16:
      return &winners_of<BFloat16>;
    case ConfusionInput::Type::kDouble:
      return &winners_of<double>;
    default:
      return &winners_of<float>;
  }
}

int64_t integer_at(const ConfusionInput& input, int64_t position) {
  switch (input.type) {
    case ConfusionInput::Type::kUint8:
      return static_cast<const uint8_t*>(input.data)[position];
    case ConfusionInput::Type::kInt8:
      return static_cast<const int8_t*>(input.data)[position];
    case ConfusionInput::Type::kUint16:
      return static_cast<const uint16_t*>(input.data)[position];
    case ConfusionInput::Type::kInt32:
      return static_cast<const int32_t*>(input.data)[position];
    default:
      return static_cast<const int64_t*>(input.data)[position];
  }
}

// Finds the first bad value of a block that is known to hold one, if it is one: a predicted class out of range does no
// harm under an ignored label.
void report_labels(const ConfusionMatrixArgs& args, int64_t begin, int64_t count, Offender* offender) {
  const int64_t classes = args.counts.shape[0];
  for (int64_t i = begin; i < begin + count; ++i) {
    const int64_t value = integer_at(args.labels, i);
    if (args.has_ignore_index && value == args.ignore_index) continue;
    if (value < 0 || value >= classes) return offender->report(i, value, true);
  }
}
bool report_predictions(const ConfusionMatrixArgs& args, int64_t begin, int64_t count, const int32_t* rows,
                        const int32_t* columns, Offender* offender) {
  const int64_t classes = args.counts.shape[0];
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] == classes || columns[i] != classes) continue;
    offender->report(begin + i, integer_at(args.predictions, begin + i), false);
    return true;
  }
  return false;
}

// A table of its own spares a range of pixels the atomic additions, if the range is worth clearing and adding it.
constexpr int64_t kMostLocalCells = 1 << 16;
constexpr int64_t kLocalCellsPerPixel = 2;

Status confusion_matrix_kernel(const ConfusionMatrixArgs& args, const ParallelFor& parallel_for) {
  const int32_t classes = static_cast<int32_t>(args.counts.shape[0]);
  const int32_t channels = static_cast<int32_t>(args.channels);
  const bool from_logits = args.predictions.floating();
  const Classes rows_stage = classes_stage(args.labels.type);
  const Classes columns_stage = classes_stage(args.predictions.type);
  const Winners logits_stage = winners_stage(args.predictions.type);
  const bool sigmoid = channels == 1 && classes == 2;
  const FloatWinners float_winners = from_logits ? choose_winners(channels, sigmoid) : nullptr;
  int64_t* const counts = args.counts.data;
  std::memset(counts, 0, sizeof(int64_t) * classes * classes);
  Offender offender;

  // The local table has a spill row and a spill column, so that counting has no branch.
  const int64_t stride = classes + 1;
  const int64_t local_cells = stride * stride;
  const int64_t cost = from_logits ? 12 + channels : 4;

  parallel_for.run(args.pixels, cost, [&](int64_t begin, int64_t end) {
    alignas(KSEG_VECTOR_BYTES) int32_t rows[kBlock];
    alignas(KSEG_VECTOR_BYTES) int32_t columns[kBlock];
    const bool local = local_cells <= kMostLocalCells && local_cells <= kLocalCellsPerPixel * (end - begin);
    std::unique_ptr<int64_t[]> table;
    if (local) table.reset(new int64_t[local_cells]());
    for (int64_t first = begin; first < end; first += kBlock) {
      const int64_t count = kBlock < end - first ? kBlock : end - first;
      if (rows_stage(args.labels.data, first, count, classes, args.has_ignore_index, args.ignore_index, rows)) {
        report_labels(args, first, count, &offender);
        return;
      }
      if (from_logits) {
        logits_stage(args.predictions.data, first, count, channels, sigmoid, float_winners, columns);
      } else if (columns_stage(args.predictions.data, first, count, classes, false, 0, columns) &&
                 report_predictions(args, first, count, rows, columns, &offender)) {
        return;
      }
      if (local) {
        for (int64_t i = 0; i < count; ++i) ++table[rows[i] * stride + columns[i]];
        continue;
      }
      // Neighbours mostly fall into the same cell: one addition for each run of them.
      for (int64_t i = 0; i < count;) {
        const int32_t row = rows[i];
        const int32_t column = columns[i];
        const int64_t start = i;
        do {
          ++i;
        } while (i < count && rows[i] == row && columns[i] == column);
        if (row == classes) continue;
        __atomic_fetch_add(counts + int64_t{row} * classes + column, i - start, __ATOMIC_RELAXED);
      }
    }
    if (!local) return;
    for (int64_t row = 0; row < classes; ++row) {
      for (int64_t column = 0; column < classes; ++column) {
        const int64_t met = table[row * stride + column];
        if (met != 0) __atomic_fetch_add(counts + row * classes + column, met, __ATOMIC_RELAXED);
      }
    }
  });

  if (!offender.found()) return Status();
  if (offender.is_label) {
    if (args.has_ignore_index) {
      return invalid_argument("labels must be in 0..", classes - 1, " or equal ignore_index=", args.ignore_index,
                              ", got ", offender.value, " at position ", offender.position, " (flattened)");
    }
    return invalid_argument("labels must be in 0..", classes - 1, ", got ", offender.value, " at position ",
                            offender.position, " (flattened); ignore_index is None");
  }
  return invalid_argument("predicted classes must be in 0..", classes - 1, " where the label is counted, got ",
                          offender.value, " at position ", offender.position, " (flattened)");
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status confusion_matrix_kernel(const ConfusionMatrixArgs&, const ParallelFor&))

Status check_confusion_classes(int64_t classes) { return check_class_count(classes); }

Status confusion_matrix(const ConfusionMatrixArgs& args, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_confusion_arguments(args));
  KSEG_RETURN_DISPATCH(confusion_matrix_kernel, args, parallel_for);
}

}  // namespace kseg
#endif
