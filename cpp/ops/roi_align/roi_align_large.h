// The forward pass of boxes whose bins cover many pixels, as adaptive sampling of a fine map has them. Opens the target
// as base/kernel.h does, so it is included last.
//
// Such a bin costs what its pixels cost to read: a large box covers megabytes, and most pixels lie under many boxes. So
// the bins of all boxes are taken tile by tile of the map, and a pixel is still in the cache for the next bin over it.
// No bin is summed differently for that.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_LARGE_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_LARGE_H_

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel_for.h"
#include "ops/roi_align/roi_align_taps.h"

#include "base/kernel.h"
#include "ops/roi_align/roi_align_maps.h"
#include "ops/roi_align/roi_align_pool.h"

KSEG_KERNEL_BEGIN

// Whether the box's bins read so many pixels that their order matters. Only then is pool_large_boxes for it.
inline bool has_large_bins(const float* corners, float spatial_scale, int64_t bin_rows, int64_t bin_columns,
                           const RoiAlignOptions& options) {
  if (options.sampling_ratio > 0) return false;  // reads few pixels of any box
  const double rows = (static_cast<double>(corners[3]) - corners[1]) * spatial_scale / static_cast<double>(bin_rows);
  const double columns =
      (static_cast<double>(corners[2]) - corners[0]) * spatial_scale / static_cast<double>(bin_columns);
  return rows > 0 && columns > 0 && (rows + 1) * (columns + 1) > kMostCrossed;
}

template <class Real>
struct LargeBoxTaps {
  RoiTapLists<Real> rows;
  RoiTapLists<Real> columns;  // offsets count pixels times channels, as those of the rows
};

// The side of a tile: 16 pixels, or more where there would be more than 32 tiles along the axis.
inline int64_t tile_side(int64_t extent) { return std::max<int64_t>(16, (extent + 31) / 32); }

// `boxes` are of one map and one image.
template <class T>
void pool_large_boxes(const RoiMap<const T>& map, const std::vector<int64_t>& boxes, const PlacedRois& rois,
                      const RoiAlignOptions& options, const View<T, 4>& output, const ParallelFor& parallel_for) {
  using Real = Compute<T>;
  const auto [all, bin_rows, bin_columns, channels] = output.shape;
  (void)all;
  const int64_t count = static_cast<int64_t>(boxes.size());
  const int64_t bins = bin_rows * bin_columns;
  RoiAlignOptions scaled = options;
  scaled.spatial_scale = map.spatial_scale;
  const int64_t row_stride = map.width * channels;
  std::vector<LargeBoxTaps<Real>> taps(count);
  parallel_for.run(count, 5000, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float* const corners = rois.boxes.data + 4 * boxes[i];
      roi_taps(corners[0], corners[2], {map.width, bin_columns, channels}, scaled, &taps[i].columns);
      roi_taps(corners[1], corners[3], {map.height, bin_rows, row_stride}, scaled, &taps[i].rows);
    }
  });

  // A counting sort of the bins by the tile that their first pixel lies in.
  const int64_t tile_rows = tile_side(map.height), tile_columns = tile_side(map.width);
  const int64_t tiles_across = (map.width - 1) / tile_columns + 1;
  const int64_t tiles = ((map.height - 1) / tile_rows + 1) * tiles_across;
  std::vector<int64_t> first(tiles + 1, 0), units(count * bins);
  std::vector<int64_t> row_tile(count * bin_rows), column_tile(count * bin_columns);
  int64_t pixels = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto& [rows, columns] = taps[i];
    for (int64_t bin = 0; bin < bin_rows; ++bin) {
      const int64_t y = rows.size(bin) == 0 ? 0 : rows.begin(bin)->offset / row_stride;
      row_tile[i * bin_rows + bin] = y / tile_rows * tiles_across;
    }
    for (int64_t bin = 0; bin < bin_columns; ++bin) {
      const int64_t x = columns.size(bin) == 0 ? 0 : columns.begin(bin)->offset / channels;
      column_tile[i * bin_columns + bin] = x / tile_columns;
    }
    pixels += static_cast<int64_t>(rows.taps.size()) * static_cast<int64_t>(columns.taps.size());
  }
  const auto each_bin = [&](const auto& visit) {
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t row = 0; row < bin_rows; ++row) {
        for (int64_t column = 0; column < bin_columns; ++column) {
          visit(i * bins + row * bin_columns + column,
                row_tile[i * bin_rows + row] + column_tile[i * bin_columns + column]);
        }
      }
    }
  };
  each_bin([&](int64_t, int64_t tile) { ++first[tile + 1]; });
  for (int64_t tile = 0; tile < tiles; ++tile) first[tile + 1] += first[tile];
  each_bin([&](int64_t unit, int64_t tile) { units[first[tile]++] = unit; });

  const int64_t total = count * bins;
  const int64_t cost = pixels / total * channels / 8 + 200;
  const int64_t grain = std::clamp<int64_t>(total / (64 * parallel_for.useful_threads()), 1, 64);
  run_in_pieces(parallel_for, total, grain, cost, [&](int64_t begin, int64_t end) {
    BinTaps<Real> crossed, none;
    for (int64_t at = begin; at < end; ++at) {
      const int64_t i = units[at] / bins, row = units[at] % bins / bin_columns, column = units[at] % bin_columns;
      const int64_t box = boxes[i];
      const auto& [rows, columns] = taps[i];
      const T* const image = map.data + rois.images[box] * map.height * row_stride;
      T* const to = output.data + (box * bins + row * bin_columns + column) * channels;
      if (is_large(rows, row, columns, column)) {
        pool_large_bin<true>(image, rows, row, columns, column, channels, to);
      } else {
        cross(rows, row, columns, column, &crossed);
        pool_bin<false>(image, crossed, none, channels, to);
      }
    }
  });
}

// Pools the boxes in `order` that have large bins, and removes them from it.
template <class T>
void take_large_boxes(const std::vector<RoiMap<const T>>& maps, const PlacedRois& rois, const RoiAlignOptions& options,
                      const View<T, 4>& output, const ParallelFor& parallel_for, std::vector<int64_t>* order) {
  // How many bins and taps are held at once: bounds on the memory that they take. Boxes beyond them go without.
  constexpr int64_t kMostBins = 1 << 18, kMostTaps = 1 << 23, kMostBoxes = 1024;
  const int64_t most_of_bins = kMostBins / (output.shape[1] * output.shape[2]);
  std::vector<int64_t> large, others;
  const auto pool = [&] {
    if (large.empty()) return;
    pool_large_boxes(maps[rois.map(large[0])], large, rois, options, output, parallel_for);
    large.clear();
  };
  for (const int64_t box : *order) {
    const RoiMap<const T>& map = maps[rois.map(box)];
    // Neighbouring bins share a pixel or two.
    const int64_t taps = map.height + map.width + 2 * (output.shape[1] + output.shape[2]);
    const int64_t most = std::min({most_of_bins, kMostTaps / taps, kMostBoxes});
    if (most == 0 ||
        !has_large_bins(rois.boxes.data + 4 * box, map.spatial_scale, output.shape[1], output.shape[2], options)) {
      others.push_back(box);
      continue;
    }
    if (!large.empty() && (rois.map(box) != rois.map(large[0]) || rois.images[box] != rois.images[large[0]] ||
                           static_cast<int64_t>(large.size()) == most)) {
      pool();
    }
    large.push_back(box);
  }
  pool();
  order->swap(others);
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_LARGE_H_
