#include "ops/roi_align/roi_align.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "base/huge_pages.h"
#include "ops/roi_align/roi_align_check.h"
#include "ops/roi_align/roi_align_taps.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "ops/roi_align/roi_align_large.h"  // target code only
#include "ops/roi_align/roi_align_maps.h"
#include "ops/roi_align/roi_align_pool.h"

KSEG_KERNEL_BEGIN
namespace {

// to[c] (+)= sum over taps of scale * weight * from[offset + c].
template <bool add, int vectors, class T, class Real>
KSEG_INLINE void combine_block(const T* from, const RoiTap<Real>* taps, int count, Real scale, Real* to) {
  Vec<Real> sum[vectors] = {};
  if constexpr (add) {
    for (int v = 0; v < vectors; ++v) sum[v] = load(to + v * kLanes<Real>);
  }
  for (int tap = 0; tap < count; ++tap) {
    const Vec<Real> weight = splat(taps[tap].weight * scale);
    for (int v = 0; v < vectors; ++v) sum[v] += weight * load_compute(from + taps[tap].offset + v * kLanes<Real>);
  }
  for (int v = 0; v < vectors; ++v) store(to + v * kLanes<Real>, sum[v]);
}

template <bool add, class T, class Real>
void combine(const T* from, const RoiTap<Real>* taps, int count, Real scale, int64_t channels, Real* to) {
  constexpr int kBlock = 4;
  constexpr int64_t kLane = kLanes<Real>;
  int64_t c = 0;
  for (; c + kBlock * kLane <= channels; c += kBlock * kLane) {
    combine_block<add, kBlock>(from + c, taps, count, scale, to + c);
  }
  for (; c + kLane <= channels; c += kLane) combine_block<add, 1>(from + c, taps, count, scale, to + c);
  for (; c < channels; ++c) {
    Real sum = add ? to[c] : Real(0);
    for (int tap = 0; tap < count; ++tap) sum += taps[tap].weight * scale * to_float(from[taps[tap].offset + c]);
    to[c] = sum;
  }
}

// A box's taps from the pixels' side, for the backward pass.
template <class Real>
struct BoxPixels {
  RoiPixelTaps<Real> rows;
  RoiPixelTaps<Real> columns;
};

}  // namespace

template <class T>
void pool_rois(const std::vector<RoiMap<const T>>& maps, const PlacedRois& rois, const RoiAlignOptions& options,
               const View<T, 4>& output, const ParallelFor& parallel_for) {
  using Real = Compute<T>;
  const auto [all_boxes, bin_rows, bin_columns, channels] = output.shape;
  (void)all_boxes;

  // Neighbours one after the other, so that what one box read is still in the cache for the next.
  std::vector<int64_t> order = roi_order(rois.boxes, rois.images, rois.maps);
  take_large_boxes(maps, rois, options, output, parallel_for, &order);
  const int64_t boxes = static_cast<int64_t>(order.size());
  if (boxes == 0) return;
  // Few boxes are shared out by channels too. A part is a multiple of every block of vectors, so that the cut changes
  // nothing about how a channel is summed.
  const int64_t threads = parallel_for.useful_threads();
  const int64_t wanted = threads == 1 ? 1 : 4 * threads / (boxes * bin_rows) + 1;
  const int64_t part = (channels / wanted + kChannelPart - 1) / kChannelPart * kChannelPart;
  const int64_t parts = wanted == 1 || part == 0 ? 1 : (channels + part - 1) / part;
  const int64_t per_box = bin_rows * parts;
  const int64_t total = boxes * per_box;
  const int64_t grain = std::clamp<int64_t>(total / (16 * threads), 1, per_box);
  const bool past_cache = can_stream(output.data, channels, output.size() * static_cast<int64_t>(sizeof(T)));
  const int samples = options.sampling_ratio > 0 ? options.sampling_ratio : 4;
  const int64_t cost = bin_columns * channels * samples * samples / 2 + 200;
  run_in_pieces(parallel_for, total, grain, cost, [&](int64_t begin, int64_t end) {
    RoiTapLists<Real> row_taps, column_taps;
    BinTaps<Real> buffers[2];
    BinTaps<Real>* taps = &buffers[0];
    BinTaps<Real>* next = &buffers[1];
    int64_t current = -1;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t box = order[unit / per_box];
      const int64_t bin_row = unit % per_box / parts;
      const int64_t first_channel = unit % parts * part;
      const int64_t count = parts == 1 ? channels : std::min(part, channels - first_channel);
      const RoiMap<const T>& map = maps[rois.map(box)];
      if (box != current) {
        current = box;
        const float* const corners = rois.boxes.data + 4 * box;
        RoiAlignOptions scaled = options;
        scaled.spatial_scale = map.spatial_scale;
        roi_taps(corners[0], corners[2], {map.width, bin_columns, channels}, scaled, &column_taps);
        roi_taps(corners[1], corners[3], {map.height, bin_rows, map.width * channels}, scaled, &row_taps);
      }
      const T* const image = map.data + rois.images[box] * map.height * map.width * channels + first_channel;
      T* const to = output.data + (box * bin_rows + bin_row) * bin_columns * channels + first_channel;
      cross(row_taps, bin_row, column_taps, 0, taps);
      for (int64_t bin_column = 0; bin_column < bin_columns; ++bin_column) {
        next->count = 0;
        if (bin_column + 1 < bin_columns) {
          cross(row_taps, bin_row, column_taps, bin_column + 1, next);
        } else if (bin_row + 1 < bin_rows) {
          cross(row_taps, bin_row + 1, column_taps, 0, next);
        }
        if (is_large(row_taps, bin_row, column_taps, bin_column)) {
          pool_large_bin<false>(image, row_taps, bin_row, column_taps, bin_column, count, to + bin_column * channels);
        } else if constexpr (std::is_same<T, float>::value) {
          if (past_cache) {
            pool_bin<true>(image, *taps, *next, count, to + bin_column * channels);
          } else {
            pool_bin<false>(image, *taps, *next, count, to + bin_column * channels);
          }
        } else {
          pool_bin<false>(image, *taps, *next, count, to + bin_column * channels);
        }
        std::swap(taps, next);
      }
    }
    if (past_cache) end_of_streams();
  });
}

template <class T>
void unpool_rois(const View<const T, 4>& output_gradient, const PlacedRois& rois, const RoiAlignOptions& options,
                 int64_t batch, const std::vector<RoiMap<T>>& maps, const ParallelFor& parallel_for) {
  using Real = Compute<T>;
  constexpr bool kInPlace = std::is_same<T, Real>::value;
  const auto [boxes, bin_rows, bin_columns, channels] = output_gradient.shape;

  std::vector<BoxPixels<Real>> pixels(boxes);
  parallel_for.run(boxes, 2000, [&](int64_t begin, int64_t end) {
    RoiTapLists<Real> scratch;
    for (int64_t box = begin; box < end; ++box) {
      const float* const corners = rois.boxes.data + 4 * box;
      const RoiMap<T>& map = maps[rois.map(box)];
      RoiAlignOptions scaled = options;
      scaled.spatial_scale = map.spatial_scale;
      roi_pixel_taps(corners[0], corners[2], {map.width, bin_columns, channels}, scaled, &scratch,
                     &pixels[box].columns);
      roi_pixel_taps(corners[1], corners[3], {map.height, bin_rows, bin_columns * channels}, scaled, &scratch,
                     &pixels[box].rows);
    }
  });

  // A unit of work is a row of pixels; those of map m are the units first_unit[m] up to first_unit[m + 1].
  std::vector<int64_t> first_unit = {0};
  int64_t pixels_in_all = 0;
  for (const RoiMap<T>& map : maps) {
    const int64_t rows = map.width == 0 ? 0 : batch * map.height;
    first_unit.push_back(first_unit.back() + rows);
    pixels_in_all += rows * map.width;
  }
  const int64_t units = first_unit.back();
  const int64_t box_size = bin_rows * bin_columns * channels;
  const int64_t bin_row_size = bin_columns * channels;
  const int64_t cost =
      (pixels_in_all * channels + boxes * box_size * 4 / std::max<int64_t>(1, batch)) / std::max<int64_t>(1, units);
  const int64_t grain = std::max<int64_t>(1, units / (16 * parallel_for.useful_threads()));
  run_in_pieces(parallel_for, units, grain, cost, [&](int64_t begin, int64_t end) {
    std::vector<int64_t> candidates;
    std::vector<Real> row_buffer, bins(bin_row_size);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t of_map = std::upper_bound(first_unit.begin(), first_unit.end(), unit) - first_unit.begin() - 1;
      const RoiMap<T>& map = maps[of_map];
      const int64_t image = (unit - first_unit[of_map]) / map.height;
      const int64_t y = (unit - first_unit[of_map]) % map.height;
      const int64_t row_size = map.width * channels;
      if (unit == begin || y == 0) {
        const int64_t stop = std::min(map.height, y + end - unit);
        candidates.clear();
        for (int64_t box = 0; box < boxes; ++box) {
          const RoiPixelTaps<Real>& rows = pixels[box].rows;
          if (rois.map(box) == of_map && rois.images[box] == image && rows.first_pixel < stop &&
              rows.first_pixel + rows.pixels > y && pixels[box].columns.pixels > 0) {
            candidates.push_back(box);
          }
        }
      }
      T* const to = map.data + (image * map.height + y) * row_size;
      Real* row;
      if constexpr (kInPlace) {
        row = to;
      } else {
        row_buffer.resize(row_size);
        row = row_buffer.data();
      }
      std::fill_n(row, row_size, Real(0));
      for (const int64_t box : candidates) {
        const RoiPixelTaps<Real>& rows = pixels[box].rows;
        const int64_t list = y - rows.first_pixel;
        if (list < 0 || list >= rows.pixels) continue;
        const int row_count = rows.lists.size(list);
        if (row_count == 0) continue;
        const RoiTap<Real>* const row_taps = rows.lists.begin(list);
        const T* const from = output_gradient.data + box * box_size;
        const RoiPixelTaps<Real>& columns = pixels[box].columns;
        // Rows of bins first: once for all pixels of this row.
        bool direct = false;
        if constexpr (kInPlace) direct = row_count == 1;
        if (!direct) combine<false>(from, row_taps, row_count, Real(1), bin_row_size, bins.data());
        Real* pixel = row + columns.first_pixel * channels;
        for (int64_t x = 0; x < columns.pixels; ++x, pixel += channels) {
          const int count = columns.lists.size(x);
          if (count == 0) continue;
          if constexpr (kInPlace) {
            if (direct) {
              combine<true>(from + row_taps->offset, columns.lists.begin(x), count, row_taps->weight, channels, pixel);
              continue;
            }
          }
          combine<true>(bins.data(), columns.lists.begin(x), count, Real(1), channels, pixel);
        }
      }
      if constexpr (!kInPlace) {
        int64_t i = 0;
        for (; i + kLanes<Real> <= row_size; i += kLanes<Real>) store_compute(to + i, load(row + i));
        for (; i < row_size; ++i) to[i] = narrow<T>(row[i]);
      }
    }
  });
}

#define KSEG_INSTANTIATE(T)                                                                                  \
  template void pool_rois<T>(const std::vector<RoiMap<const T>>&, const PlacedRois&, const RoiAlignOptions&, \
                             const View<T, 4>&, const ParallelFor&);                                         \
  template void unpool_rois<T>(const View<const T, 4>&, const PlacedRois&, const RoiAlignOptions&, int64_t,  \
                               const std::vector<RoiMap<T>>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

template <class T>
Status roi_align_kernel(const View<const T, 4>& features, const Rois& rois, const RoiAlignOptions& options,
                        const View<T, 4>& output, const ParallelFor& parallel_for) {
  const auto [batch, height, width, channels] = features.shape;
  (void)batch, (void)channels;
  pool_rois<T>({{features.data, height, width, options.spatial_scale}}, {rois.boxes, rois.image_indices.data}, options,
               output, parallel_for);
  return Status();
}

template <class T>
Status roi_align_grad_kernel(const View<const T, 4>& output_gradient, const Rois& rois, const RoiAlignOptions& options,
                             const View<T, 4>& features_gradient, const ParallelFor& parallel_for) {
  const auto [batch, height, width, channels] = features_gradient.shape;
  (void)channels;
  unpool_rois<T>(output_gradient, {rois.boxes, rois.image_indices.data}, options, batch,
                 {{features_gradient.data, height, width, options.spatial_scale}}, parallel_for);
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                            \
  template Status roi_align_kernel<T>(const View<const T, 4>&, const Rois&, const RoiAlignOptions&, const View<T, 4>&, \
                                      const ParallelFor&);                                                             \
  template Status roi_align_grad_kernel<T>(const View<const T, 4>&, const Rois&, const RoiAlignOptions&,               \
                                           const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status roi_align_kernel(const View<const T, 4>&, const Rois&,
                                                               const RoiAlignOptions&, const View<T, 4>&,
                                                               const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T> Status roi_align_grad_kernel(const View<const T, 4>&, const Rois&,
                                                                    const RoiAlignOptions&, const View<T, 4>&,
                                                                    const ParallelFor&))

Status check_roi_align(int64_t output_height, int64_t output_width, float spatial_scale, int64_t sampling_ratio,
                       int* narrowed) {
  KSEG_RETURN_IF_ERROR(check_roi_align_attributes(output_height, output_width, spatial_scale, sampling_ratio));
  *narrowed = static_cast<int>(sampling_ratio);
  return Status();
}

namespace {

Status check(const RoiAlignNames& names, const Shape<4>& features, const Shape<4>& output, const Rois& rois,
             const RoiAlignOptions& options) {
  KSEG_RETURN_IF_ERROR(check_roi_align_shapes(names, features, output, rois, options));
  for (int64_t box = 0; box < rois.boxes.shape[0]; ++box) {
    const int32_t image = rois.image_indices.data[box];
    if (image < 0 || image >= features[0]) {
      return invalid_argument("box_indices must be in 0..B-1 with B = ", features[0], " images, got ", image,
                              " for box ", box);
    }
  }
  return Status();
}

}  // namespace

template <class T>
Status roi_align(const View<const T, 4>& features, const Rois& rois, const RoiAlignOptions& options,
                 const View<T, 4>& output, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check({"features", "output"}, features.shape, output.shape, rois, options));
  if (output.empty()) return Status();
  prefer_huge_pages(output.data, output.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(roi_align_kernel<T>, features, rois, options, output, parallel_for);
}

template <class T>
Status roi_align_grad(const View<const T, 4>& output_gradient, const Rois& rois, const RoiAlignOptions& options,
                      const View<T, 4>& features_gradient, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(
      check({"features_shape", "output_gradient"}, features_gradient.shape, output_gradient.shape, rois, options));
  if (features_gradient.empty()) return Status();
  prefer_huge_pages(features_gradient.data, features_gradient.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(roi_align_grad_kernel<T>, output_gradient, rois, options, features_gradient, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                                \
  template KSEG_API Status roi_align<T>(const View<const T, 4>&, const Rois&, const RoiAlignOptions&,      \
                                        const View<T, 4>&, const ParallelFor&);                            \
  template KSEG_API Status roi_align_grad<T>(const View<const T, 4>&, const Rois&, const RoiAlignOptions&, \
                                             const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
