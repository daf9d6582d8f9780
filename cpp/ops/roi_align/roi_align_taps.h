// Where RoIAlign reads along one axis of one box, and with what weights: the scalar half of the op.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_TAPS_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_TAPS_H_

#include <cstdint>
#include <vector>

#include "ops/roi_align/roi_align.h"

namespace kseg {

template <class Real>
struct RoiTap {
  int64_t offset;  // index times the stride that the list was built with
  Real weight;
};

// Lists of taps, one after the other: list i is taps[first[i]] up to taps[first[i + 1]].
template <class Real>
struct RoiTapLists {
  std::vector<int32_t> first;
  std::vector<RoiTap<Real>> taps;

  int size(int64_t list) const { return first[list + 1] - first[list]; }
  const RoiTap<Real>* begin(int64_t list) const { return taps.data() + first[list]; }
};

struct RoiAxis {
  int64_t extent;  // pixels of the feature map along the axis, at least 1
  int64_t bins;    // outputs along the axis, at least 1
  int64_t stride;  // between neighbouring pixels (or bins, in the transposed lists)
};

// For each bin the pixels that it averages, in rising order, with nonzero weights.
template <class Real>
void roi_taps(float begin, float end, const RoiAxis& axis, const RoiAlignOptions& options, RoiTapLists<Real>* lists);

// The same weights seen from the pixels: for pixel `first_pixel + i` the bins that read it, in rising order.
template <class Real>
struct RoiPixelTaps {
  int64_t first_pixel = 0;
  int64_t pixels = 0;
  RoiTapLists<Real> lists;
};
template <class Real>
void roi_pixel_taps(float begin, float end, const RoiAxis& axis, const RoiAlignOptions& options,
                    RoiTapLists<Real>* scratch, RoiPixelTaps<Real>* result);

// The boxes [K, 4] sorted by map (null: they share one), image, and height on it.
std::vector<int64_t> roi_order(const View<const float, 2>& boxes, const int32_t* images, const int32_t* maps);

}  // namespace kseg

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_TAPS_H_
