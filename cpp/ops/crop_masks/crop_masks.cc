#include "ops/crop_masks/crop_masks.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>
#include <vector>

#include "ops/crop_masks/crop_masks_check.h"
#include "ops/crop_masks/crop_masks_parts.h"
// Last: this switches the instruction set.
#include "base/kernel.h"

KSEG_KERNEL_BEGIN
namespace {

constexpr int64_t kLane = kLanes<double>;
// Neighbouring bins share no more rows than this, so that each row is summed once.
constexpr int64_t kRing = 4;

// The weighted sum of a row's bits within each word. Most words are all ones or all zeros, which costs no branch; the
// others are summed bit by bit.
KSEG_INLINE void sum_words(const uint8_t* row, const CropWords& words, double* sums) {
  const int64_t count = static_cast<int64_t>(words.bytes.size());
  for (int64_t first = 0; first < count; first += 64) {
    const int64_t here = std::min<int64_t>(64, count - first);
    const int64_t* const bytes = words.bytes.data() + first;
    const uint64_t* const masks = words.masks.data() + first;
    const double* const totals = words.totals.data() + first;
    uint64_t mixed = 0;
    for (int64_t i = 0; i < here; ++i) {
      uint64_t bits;
      std::memcpy(&bits, row + bytes[i], sizeof bits);  // the pixel of the lowest address is the lowest bit
      bits &= masks[i];
      const bool all = bits == masks[i];
      sums[first + i] = all ? totals[i] : 0.0;
      mixed |= uint64_t{!all && bits != 0} << i;
    }
    for (; mixed != 0; mixed &= mixed - 1) {
      const int64_t i = __builtin_ctzll(mixed);
      uint64_t bits;
      std::memcpy(&bits, row + bytes[i], sizeof bits);
      const double* const weights = words.weights.data() + 64 * (first + i);
      double sum = 0;
      for (bits &= masks[i]; bits != 0; bits &= bits - 1) sum += weights[__builtin_ctzll(bits)];
      sums[first + i] = sum;
    }
  }
}

// The same within each bin. `values` has room for all words.
KSEG_INLINE void sum_row(const uint8_t* row, const CropWords& words, int64_t bins, double* values, double* sums) {
  if (words.one_each) return sum_words(row, words, sums);
  sum_words(row, words, values);
  for (int64_t bin = 0; bin < bins; ++bin) {
    double sum = values[words.first[bin]];
    for (int32_t i = words.first[bin] + 1; i < words.first[bin + 1]; ++i) sum += values[i];
    sums[bin] = sum;
  }
}

// What a thread keeps from box to box.
struct Scratch {
  RoiTapLists<double> rows, columns;
  CropWords words;
  WindowBits bits;
  std::vector<double> ring;  // sums of row y at (y % kRing) * padded
  std::vector<double> values;
  std::vector<double> sums;
};

void crop_box(const CropSource& source, int64_t mask, const float* corners, const CropMasksOptions& options,
              Scratch* scratch, float* output) {
  const int64_t bin_rows = options.height, bins = options.width;
  const int64_t padded = (bins + kLane - 1) / kLane * kLane;
  std::fill_n(output, bin_rows * bins, 0.0f);
  if (mask < 0 || source.height == 0 || source.width == 0) return;
  crop_taps(corners[0], corners[2], source.width, bins, options, &scratch->columns);
  crop_taps(corners[1], corners[3], source.height, bin_rows, options, &scratch->rows);
  if (scratch->columns.taps.empty() || scratch->rows.taps.empty()) return;

  const auto range = [](const std::vector<RoiTap<double>>& taps) {
    int64_t low = taps.front().offset, high = low;
    for (const RoiTap<double>& tap : taps) {
      low = std::min(low, tap.offset);
      high = std::max(high, tap.offset);
    }
    return std::pair<int64_t, int64_t>(low, high + 1);
  };
  const auto [top, bottom] = range(scratch->rows.taps);
  auto [left, right] = range(scratch->columns.taps);
  left = left / 8 * 8;
  source.read(mask, {top, left, bottom - top, right - left}, &scratch->bits);
  scratch->words.assign(scratch->columns, bins, left);
  scratch->values.resize(scratch->words.bytes.size());

  scratch->ring.assign(static_cast<size_t>(kRing * padded), 0.0);
  int64_t held[kRing];
  std::fill_n(held, kRing, int64_t{-1});
  scratch->sums.resize(static_cast<size_t>(padded));
  for (int64_t bin_row = 0; bin_row < bin_rows; ++bin_row) {
    double* const sums = scratch->sums.data();
    std::fill_n(sums, padded, 0.0);
    for (int tap = 0; tap < scratch->rows.size(bin_row); ++tap) {
      const auto [y, weight] = scratch->rows.begin(bin_row)[tap];
      double* const row = scratch->ring.data() + y % kRing * padded;
      if (held[y % kRing] != y) {
        held[y % kRing] = y;
        sum_row(scratch->bits.rows.data() + (y - top) * scratch->bits.row_bytes, scratch->words, bins,
                scratch->values.data(), row);
      }
      const Vec<double> factor = splat(weight);
      for (int64_t i = 0; i < padded; i += kLane) store(sums + i, load(sums + i) + factor * load(row + i));
    }
    for (int64_t bin = 0; bin < bins; ++bin) output[bin_row * bins + bin] = static_cast<float>(sums[bin]);
  }
}

}  // namespace

Status crop_masks_kernel(const CropSource& source, const CropBoxes& boxes, const CropMasksOptions& options,
                         const View<float, 3>& output, const ParallelFor& parallel_for) {
  const int64_t size = options.height * options.width;
  // Boxes of one mask after each other: what one has read is still in the cache for the next.
  std::vector<int64_t> order(static_cast<size_t>(boxes.boxes.shape[0]));
  std::iota(order.begin(), order.end(), int64_t{0});
  const int32_t* const masks = boxes.mask_indices.data;
  std::stable_sort(order.begin(), order.end(), [masks](int64_t a, int64_t b) { return masks[a] < masks[b]; });
  parallel_for.run(boxes.boxes.shape[0], 20000 + 20 * size, [&](int64_t begin, int64_t end) {
    Scratch scratch;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t box = order[i];
      crop_box(source, boxes.mask_indices.data[box], boxes.boxes.data + 4 * box, options, &scratch,
               output.data + box * size);
    }
  });
  return Status();
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status crop_masks_kernel(const CropSource&, const CropBoxes&, const CropMasksOptions&,
                                             const View<float, 3>&, const ParallelFor&))

Status check_crop_masks(int64_t height, int64_t width, int64_t sampling_ratio, int* narrowed) {
  KSEG_RETURN_IF_ERROR(check_crop_options(height, width, sampling_ratio));
  *narrowed = static_cast<int>(sampling_ratio);
  return Status();
}

Status check_crop_count(int64_t boxes, const CropMasksOptions& options) { return check_crop_total(boxes, options); }

Status crop_masks(const CropSource& source, const CropBoxes& boxes, const CropMasksOptions& options,
                  const View<float, 3>& output, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_crop_shapes(boxes, options, output.shape));
  const int64_t count = boxes.boxes.shape[0];
  for (int64_t box = 0; box < count; ++box) {
    const int32_t mask = boxes.mask_indices.data[box];
    if (mask < -1 || mask >= source.count) {
      return invalid_argument("mask_indices must be in 0..M-1 with M = ", source.count, " masks, or -1 for none, got ",
                              mask, " for box ", box);
    }
  }
  if (count == 0) return Status();
  KSEG_RETURN_DISPATCH(crop_masks_kernel, source, boxes, options, output, parallel_for);
}

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
