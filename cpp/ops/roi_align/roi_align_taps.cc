#include "ops/roi_align/roi_align_taps.h"

// Scalar code, the same for every instruction set: without base/kernel.h it is compiled once.

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

// Whether a sample counts, and how many an adaptive grid has, are decided by comparing rounded positions. A fused
// multiply-add would round differently from the reference and from machine to machine, so there is none in this file.
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace kseg {
namespace {

// The sampling grid along an axis. The operations and their order are torchvision's: positions agree to the bit.
template <class Real>
struct Grid {
  Real start;      // where the box begins, in pixels; NaN, and with it every position, if the box is not finite
  Real bin;        // size of a bin; zero or negative for an empty or inverted box
  Real count;      // samples per bin: a whole number, which may be too large for an integer
  int64_t window;  // no more samples than this of any bin fall on the map

  Grid(float begin, float end, const RoiAxis& axis, const RoiAlignOptions& options) {
    const Real scale = options.spatial_scale;
    const Real offset = options.aligned ? Real(0.5) : Real(0);
    start = static_cast<Real>(begin) * scale - offset;
    Real size = static_cast<Real>(end) * scale - offset - start;
    if (!std::isfinite(start) || !std::isfinite(size)) start = std::numeric_limits<Real>::quiet_NaN();
    if (!options.aligned && size < 1) size = 1;
    bin = size / static_cast<Real>(axis.bins);
    count = options.sampling_ratio > 0 ? static_cast<Real>(options.sampling_ratio) : std::ceil(bin);
    window = options.sampling_ratio > 0 ? options.sampling_ratio : axis.extent + 16;
  }

  Real position(Real bin_start, Real sample) const { return bin_start + (sample + Real(0.5)) * bin / count; }

  // An adaptive grid has samples at most a pixel apart, but a huge box has any number of them: where there are more
  // than can fall on the map, this is the first that may, with some to spare for rounding.
  Real first_sample(Real bin_start) const {
    if (!(count > static_cast<Real>(window))) return 0;
    return std::max(Real(0), std::floor((Real(-1) - bin_start) * count / bin) - 4);
  }
};

// Adds `weight` at `offset` to the rising list that started at `first`. Positions rise too, so the pixel is one of the
// last two of the list or a new one.
template <class Real>
void add_tap(int64_t offset, Real weight, size_t first, std::vector<RoiTap<Real>>* taps) {
  if (weight == 0) return;
  for (size_t i = taps->size(); i > first && (*taps)[i - 1].offset >= offset; --i) {
    if ((*taps)[i - 1].offset == offset) {
      (*taps)[i - 1].weight += weight;
      return;
    }
  }
  taps->push_back({offset, weight});
}

}  // namespace

template <class Real>
void roi_taps(float begin, float end, const RoiAxis& axis, const RoiAlignOptions& options, RoiTapLists<Real>* lists) {
  const Grid<Real> grid(begin, end, axis, options);
  const Real extent = static_cast<Real>(axis.extent);
  lists->first.assign(1, 0);
  lists->taps.clear();
  std::vector<RoiTap<Real>>& taps = lists->taps;
  for (int64_t bin = 0; bin < axis.bins; ++bin) {
    const size_t first = taps.size();
    const Real bin_start = grid.start + static_cast<Real>(bin) * grid.bin;
    const Real first_sample = grid.first_sample(bin_start);
    // Also false for a NaN, and for the negative count of an inverted box under adaptive sampling.
    // Counted in integers: a float stays at 2**24 however often it is incremented.
    for (int64_t step = 0; step < grid.window; ++step) {
      const Real sample = first_sample + static_cast<Real>(step);
      if (!(sample < grid.count)) break;
      // From the low end of the map up, also in an inverted box.
      Real position = grid.position(bin_start, grid.bin < 0 ? grid.count - 1 - sample : sample);
      if (position > extent) break;
      if (!(position >= -1)) continue;  // NaN too
      position = std::max(position, Real(0));
      int64_t low = static_cast<int64_t>(position);
      Real high_weight = position - static_cast<Real>(low);
      if (low >= axis.extent - 1) {
        low = axis.extent - 1;
        high_weight = 0;
      }
      add_tap<Real>(low * axis.stride, 1 - high_weight, first, &taps);
      add_tap<Real>((low + 1) * axis.stride, high_weight, first, &taps);
    }
    for (size_t i = first; i < taps.size(); ++i) taps[i].weight /= grid.count;
    lists->first.push_back(static_cast<int32_t>(taps.size()));
  }
}

template <class Real>
void roi_pixel_taps(float begin, float end, const RoiAxis& axis, const RoiAlignOptions& options,
                    RoiTapLists<Real>* scratch, RoiPixelTaps<Real>* result) {
  roi_taps(begin, end, {axis.extent, axis.bins, 1}, options, scratch);
  result->first_pixel = axis.extent;
  int64_t last_pixel = -1;
  for (const RoiTap<Real>& tap : scratch->taps) {
    result->first_pixel = std::min(result->first_pixel, tap.offset);
    last_pixel = std::max(last_pixel, tap.offset);
  }
  result->pixels = std::max<int64_t>(0, last_pixel - result->first_pixel + 1);

  // A counting sort by pixel, which keeps the bins of a pixel in order.
  std::vector<int32_t>& first = result->lists.first;
  first.assign(result->pixels + 2, 0);
  for (const RoiTap<Real>& tap : scratch->taps) ++first[tap.offset - result->first_pixel + 2];
  for (int64_t i = 1; i < result->pixels + 2; ++i) first[i] += first[i - 1];
  result->lists.taps.resize(scratch->taps.size());
  for (int64_t bin = 0; bin < axis.bins; ++bin) {
    for (int i = 0; i < scratch->size(bin); ++i) {
      const RoiTap<Real>& tap = scratch->begin(bin)[i];
      result->lists.taps[first[tap.offset - result->first_pixel + 1]++] = {bin * axis.stride, tap.weight};
    }
  }
  first.pop_back();
}

std::vector<int64_t> roi_order(const View<const float, 2>& boxes, const int32_t* images, const int32_t* maps) {
  const int64_t count = boxes.shape[0];
  std::vector<float> middle(count);
  for (int64_t box = 0; box < count; ++box) {
    const float sum = boxes.data[4 * box + 1] + boxes.data[4 * box + 3];
    middle[box] = std::isfinite(sum) ? sum : 0.0f;  // NaN has no place in an order
  }
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    if (maps != nullptr && maps[a] != maps[b]) return maps[a] < maps[b];
    return images[a] != images[b] ? images[a] < images[b] : middle[a] < middle[b];
  });
  return order;
}

#define KSEG_INSTANTIATE(Real)                                                                                 \
  template void roi_taps<Real>(float, float, const RoiAxis&, const RoiAlignOptions&, RoiTapLists<Real>*);      \
  template void roi_pixel_taps<Real>(float, float, const RoiAxis&, const RoiAlignOptions&, RoiTapLists<Real>*, \
                                     RoiPixelTaps<Real>*);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)

}  // namespace kseg
