// The sampling grid of RoIAlign along one axis of one box, in device code: positions agree with roi_align_taps.cc to
// the bit.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_GRID_CUH_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_GRID_CUH_

#include <cstdint>

#include "base/cuda/device.cuh"
#include "ops/roi_align/roi_align_maps_cuda.h"

namespace kseg {

struct RoiGrid {
  float start;  // where the box begins, in pixels
  float bin;    // size of a bin; zero or negative for an empty or inverted box
  float count;  // samples per bin: a whole number, which may be too large for an integer
  int extent;   // pixels of the map
  int steps;     // no more samples than this of any bin fall on the map; 0 if the box is not finite

  KSEG_DEVICE RoiGrid(float begin, float end, float scale, int map_extent, int64_t bins, int sampling_ratio,
                      bool aligned) {
    const float offset = aligned ? 0.5f : 0.0f;
    extent = map_extent;
    start = begin * scale - offset;
    float size = end * scale - offset - start;
    const bool finite = isfinite(start) && isfinite(size);
    if (!aligned && size < 1.0f) size = 1.0f;
    bin = size / static_cast<float>(bins);
    count = sampling_ratio > 0 ? static_cast<float>(sampling_ratio) : ceilf(bin);
    // Of a map of nearly 2**31 pixels 17 are missed, at positions that floats cannot tell apart.
    const int window = sampling_ratio > 0 ? sampling_ratio : min(extent, 0x7fffffff - 17) + 16;
    steps = !finite || !(count > 0.0f) ? 0 : count > static_cast<float>(window) ? window : static_cast<int>(count);
  }

  KSEG_DEVICE float bin_start(int64_t index) const { return start + static_cast<float>(index) * bin; }

  // The first sample of a bin that may fall on the map: an adaptive grid of a huge box has any number before it.
  KSEG_DEVICE float first_sample(float begin) const {
    if (!(count > static_cast<float>(steps))) return 0.0f;
    return fmaxf(0.0f, floorf((-1.0f - begin) * count / bin) - 4.0f);
  }

  // From the low end of the map up, also in an inverted box.
  KSEG_DEVICE float position(float begin, float sample) const {
    const float from_low = bin < 0.0f ? count - 1.0f - sample : sample;
    return begin + (from_low + 0.5f) * bin / count;
  }
};

// A sample between two pixels.
struct RoiSample {
  int low;  // the other pixel is the next one, if it weighs anything
  float low_weight;
  float high_weight;

  // `position` is in [-1, extent].
  KSEG_DEVICE RoiSample(float position, int extent) {
    position = fmaxf(position, 0.0f);
    low = position >= static_cast<float>(extent - 1) ? extent - 1 : static_cast<int>(position);
    // Maps wider than floats tell pixels apart end in the same way.
    high_weight = low >= extent - 1 ? 0.0f : position - static_cast<float>(low);
    low_weight = 1.0f - high_weight;
  }
};

// The map that a box is pooled on.
template <class T>
KSEG_DEVICE int roi_map_of(const CudaRoiMaps<T>& maps, const float* box) {
  const float area = (box[2] - box[0]) * (box[3] - box[1]);
  int map = 0;  // of a NaN too
  for (int i = 1; i < maps.count; ++i) map += area >= maps.map[i].least_area ? 1 : 0;
  return map;
}

KSEG_DEVICE int64_t roi_image_of(const CudaRois& rois, int64_t box) {
  return rois.images != nullptr ? static_cast<int64_t>(rois.images[box]) : box / rois.per_image;
}

}  // namespace kseg

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_GRID_CUH_
