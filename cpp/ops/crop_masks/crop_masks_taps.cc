#include "ops/crop_masks/crop_masks_parts.h"

// Scalar code, the same for every instruction set: without base/kernel.h it is compiled once.

#include <algorithm>
#include <cmath>
#include <limits>

// Positions are rounded as the reference and torchvision round them: no fused multiply-add (see roi_align_taps.cc).
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace kseg {
namespace {

// Adds `weight` at `pixel` to the rising list that started at `first`, whose last two entries are the candidates.
void add_tap(int64_t pixel, double weight, size_t first, std::vector<RoiTap<double>>* taps) {
  if (weight == 0) return;
  for (size_t i = taps->size(); i > first && (*taps)[i - 1].offset >= pixel; --i) {
    if ((*taps)[i - 1].offset == pixel) {
      (*taps)[i - 1].weight += weight;
      return;
    }
  }
  taps->push_back({pixel, weight});
}

}  // namespace

void crop_taps(float begin, float end, int64_t extent, int64_t bins, const CropMasksOptions& options,
               RoiTapLists<double>* lists) {
  lists->first.assign(1, 0);
  lists->taps.clear();
  const bool adaptive = options.sampling_ratio == 0;
  const float offset = options.aligned ? 0.5f : 0.0f;
  float start = begin - offset;
  float size = end - offset - start;
  if (!std::isfinite(start) || !std::isfinite(size)) start = std::numeric_limits<float>::quiet_NaN();
  if (!options.aligned && size < 1) size = 1;
  const float bin_size = size / static_cast<float>(bins);
  const float count = adaptive ? std::ceil(bin_size) : static_cast<float>(options.sampling_ratio);
  // Adaptive samples are at most a pixel apart: so many of one bin fall on the mask at most.
  const int64_t window = adaptive ? extent + 16 : options.sampling_ratio;
  const float limit = static_cast<float>(extent);
  for (int64_t bin = 0; bin < bins; ++bin) {
    const size_t first = lists->taps.size();
    const float bin_start = start + static_cast<float>(bin) * bin_size;
    // The first sample that may fall on the mask, with some to spare for rounding.
    float first_sample = 0;
    if (adaptive && count > 1) first_sample = std::max(0.0f, std::floor((-1 - bin_start) * count / bin_size) - 4);
    for (int64_t step = 0; step < window; ++step) {
      const float sample = first_sample + static_cast<float>(step);
      if (!(sample < count)) break;  // NaN too, and the count of an empty or inverted box
      const float at = bin_size < 0 ? count - 1 - sample : sample;  // from the low end up
      float position = bin_start + (at + 0.5f) * bin_size / count;
      if (position > limit) break;
      if (!(position >= -1)) continue;
      position = std::max(position, 0.0f);
      int64_t low = static_cast<int64_t>(position);
      float high_weight = position - static_cast<float>(low);
      if (low >= extent - 1) {
        low = extent - 1;
        high_weight = 0;
      }
      add_tap(low, (1 - high_weight) / count, first, &lists->taps);
      add_tap(low + 1, high_weight / count, first, &lists->taps);
    }
    lists->first.push_back(static_cast<int32_t>(lists->taps.size()));
  }
}

void CropWords::assign(const RoiTapLists<double>& columns, int64_t bins, int64_t left) {
  first.assign(1, 0);
  bytes.clear();
  masks.clear();
  totals.clear();
  weights.clear();
  const auto add_word = [&](int64_t byte) {
    bytes.push_back(byte);
    masks.push_back(0);
    totals.push_back(0);
    weights.resize(weights.size() + 64);
  };
  for (int64_t bin = 0; bin < bins; ++bin) {
    if (columns.size(bin) == 0) add_word(0);  // of no pixel
    for (int i = 0; i < columns.size(bin); ++i) {
      const RoiTap<double>& tap = columns.begin(bin)[i];
      const int64_t byte = (tap.offset - left) / 8;
      if (i == 0 || byte >= bytes.back() + 8) add_word(byte);
      const int64_t bit = tap.offset - left - 8 * bytes.back();
      masks.back() |= uint64_t{1} << bit;
      totals.back() += tap.weight;
      weights[weights.size() - 64 + bit] = tap.weight;
    }
    first.push_back(static_cast<int32_t>(bytes.size()));
  }
  one_each = static_cast<int64_t>(bytes.size()) == bins;
}

}  // namespace kseg
