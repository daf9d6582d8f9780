// One branch of ASPP and its share of the projection, tile by tile: neither exists as a whole. Opens the target as
// base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_ASPP_ASPP_BRANCHES_H_
#define KSEG_OPS_ASPP_ASPP_BRANCHES_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/atrous.h"
#include "base/conv_axis.h"
#include "base/gemm_types.h"
#include "base/parallel_for.h"
#include "ops/aspp/aspp.h"

#include "base/kernel.h"

#include "base/depthwise.h"
#include "base/depthwise_panel.h"
#include "base/gemm.h"
#include "base/tap_gemm.h"

KSEG_KERNEL_BEGIN
namespace {

template <class T>
Epilogue epilogue_of(const AsppConvolution<T>& convolution) {
  return {convolution.scale.data, convolution.offset.data, convolution.activation};
}

// projected [pixels, columns] += branch(x) * weights [F, columns]. Strips of neighbouring pixels.
template <class T>
void add_dense_branch(const View<const T, 4>& x, const AsppConvolution<T>& branch, const T* weights, int64_t columns,
                      float* projected, const ParallelFor& parallel_for) {
  const int64_t channels = x.shape[3];
  const int64_t pixels = x.shape[0] * x.shape[1] * x.shape[2], outputs = branch.filters.shape[3];
  ConvAxis row_axis, column_axis;
  // Checked before: this only fills the axes in.
  (void)make_conv_axes(x.shape, branch.filters.shape, {branch.rate}, &row_axis, &column_axis).ok();
  const int64_t strip = tap_strip_pixels(pixels, std::max(outputs, columns), parallel_for.max_threads());
  const int64_t cost = strip * (branch.filters.size() + outputs * columns) / 16;
  run_workers(parallel_for, (pixels + strip - 1) / strip, 1, cost, [&](Pieces& pieces) {
    TapScratch scratch;
    AlignedFloats buffer(strip * outputs);
    std::vector<float*> sums(strip), to(strip);
    std::vector<const float*> from(kTapPanelRows);
    for (int64_t i = 0; i < strip; ++i) sums[i] = buffer.data() + i * outputs;
    for (int64_t unit, end_unit; pieces.take(&unit, &end_unit);) {
      for (; unit < end_unit; ++unit) {
        const int64_t begin = unit * strip, end = std::min(pixels, begin + strip), count = end - begin;
        std::fill_n(buffer.data(), count * outputs, 0.0f);
        accumulate_convolution(x.data, channels, branch.filters.data, outputs, row_axis, column_axis, begin, end,
                               sums.data(), &scratch);
        for (int64_t i = 0; i < count; ++i) {
          apply_epilogue(epilogue_of(branch), outputs, sums[i]);
          to[i] = projected + (begin + i) * columns;
        }
        accumulate_product(count, weights, outputs, columns, to.data(), &scratch,
                           [&](int64_t row, int64_t rows, int64_t from_depth, int64_t depth, float* panel) {
                             for (int64_t i = 0; i < rows; ++i) from[i] = sums[row + i] + from_depth;
                             gemm_fill_panel(from.data(), rows, depth, panel);
                           });
      }
    }
  });
}

// The same for a separable branch. Tiles of pixels a multiple of the rate apart, whose taps read the same inputs.
template <class T>
void add_separable_branch(const View<const T, 4>& x, const AsppConvolution<T>& branch, const T* weights,
                          int64_t columns, float* projected, const ParallelFor& parallel_for) {
  const int64_t channels = x.shape[3], outputs = branch.filters.shape[3];
  ConvAxis row_axis, column_axis;
  // Checked before: this only fills the axes in.
  (void)make_conv_axes(x.shape, branch.depthwise.shape, {branch.rate}, &row_axis, &column_axis).ok();
  const int64_t taps = row_axis.kernel * column_axis.kernel;
  AlignedFloats depthwise(depthwise_packed_size(taps, channels));
  depthwise_pack(branch.depthwise.data, taps, channels, channels, 1, false, branch.depthwise_scale.data,
                 branch.depthwise_offset.data, depthwise.data());
  AlignedFloats pointwise(gemm_packed_size(channels, outputs)), share(gemm_packed_size(outputs, columns));
  gemm_pack(branch.filters.data, channels, outputs, nullptr, pointwise.data(), parallel_for);
  gemm_pack(weights, outputs, columns, nullptr, share.data(), parallel_for);
  const PackedB b{pointwise.data(), channels, outputs}, project{share.data(), outputs, columns};

  const AtrousTiles tiles(row_axis, column_axis, x.shape[0]);
  const ChannelMap map{channels};
  const int64_t cost = tiles.most_outputs * (channels + columns) * outputs / kLanesF;
  run_workers(parallel_for, tiles.count(), 1, cost, [&](Pieces& pieces) {
    GemmScratch scratch(tiles.most_outputs, b, /*with_sums=*/false);
    DepthwisePanel<T> depthwise_panel(x, tiles, map, depthwise.data(), channels, branch.depthwise_activation);
    AlignedFloats buffer(tiles.most_outputs * outputs);
    std::vector<float*> sums(tiles.most_outputs), to;
    std::vector<const float*> from(tiles.most_outputs);
    // Where the outputs of a tile lie in the input, which together are most of what it reads.
    std::vector<const T*> centres, next_centres;
    std::vector<const void*> soon;
    const auto find_centres = [&](int64_t tile, std::vector<const T*>* found) {
      found->clear();
      if (tile >= tiles.count()) return;
      tiles.visit_outputs(tile, [&](int64_t pixel) { found->push_back(x.data + pixel * channels); });
    };
    for (int64_t i = 0; i < tiles.most_outputs; ++i) sums[i] = buffer.data() + i * outputs;
    for (int64_t tile, end_tile; pieces.take(&tile, &end_tile);) {
      for (; tile < end_tile; ++tile) {
        find_centres(tile, &centres);
        // While this one is multiplied, the other threads take a tile each.
        find_centres(tile + parallel_for.useful_threads(), &next_centres);
        to.clear();
        tiles.visit_outputs(tile, [&](int64_t pixel) { to.push_back(projected + pixel * columns); });
        const int64_t count = static_cast<int64_t>(to.size());
        const auto fill = [&](int64_t first, int64_t depth, float* panel) {
          depthwise_panel.fill(tile, first, depth, panel);
        };
        // What the next block of depth reads, or the first block of the next tile.
        const auto ahead = [&](int64_t first) {
          const bool same_tile = first + kGemmDepth < channels;
          const int64_t channel = same_tile ? first + kGemmDepth : 0;
          soon.clear();
          for (const T* const pixel : same_tile ? centres : next_centres) soon.push_back(pixel + channel);
          const int64_t bytes = std::min(channels - channel, kGemmDepth) * static_cast<int64_t>(sizeof(T));
          return GemmAhead{soon.data(), static_cast<int64_t>(soon.size()), bytes};
        };
        gemm_tile(count, b, epilogue_of(branch), /*add=*/false, sums.data(), &scratch, fill, ahead);
        gemm_tile(count, project, Epilogue(), /*add=*/true, to.data(), &scratch,
                  [&](int64_t first, int64_t depth, float* panel) {
                    for (int64_t i = 0; i < count; ++i) from[i] = sums[i] + first;
                    gemm_fill_panel(from.data(), count, depth, panel);
                  });
      }
    }
  });
}

}  // namespace
KSEG_KERNEL_END

#endif  // KSEG_OPS_ASPP_ASPP_BRANCHES_H_
