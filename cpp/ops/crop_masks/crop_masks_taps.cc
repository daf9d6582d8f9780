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
  words.clear();
  for (int64_t bin = 0; bin < bins; ++bin) {
    const RoiTap<double>* const taps = columns.begin(bin);
    for (int i = 0; i < columns.size(bin); ++i) {
      const int64_t byte = (taps[i].offset - left) / 8;
      if (static_cast<int32_t>(words.size()) == first.back() || byte >= words.back().byte + 8) {
        words.push_back({byte, 0, 0.0, nullptr});
      }
      CropWord& word = words.back();
      word.mask |= uint64_t{1} << (taps[i].offset - left - 8 * word.byte);
      word.total += taps[i].weight;
    }
    first.push_back(static_cast<int32_t>(words.size()));
  }
  weights.assign(64 * words.size(), 0.0);
  for (size_t i = 0; i < words.size(); ++i) words[i].weights = weights.data() + 64 * i;
  for (int64_t bin = 0; bin < bins; ++bin) {
    int32_t word = first[bin];
    for (int i = 0; i < columns.size(bin); ++i) {
      const RoiTap<double>& tap = columns.begin(bin)[i];
      if ((tap.offset - left) / 8 >= words[word].byte + 8) ++word;
      weights[64 * word + (tap.offset - left - 8 * words[word].byte)] = tap.weight;
    }
  }
}

}  // namespace kseg
