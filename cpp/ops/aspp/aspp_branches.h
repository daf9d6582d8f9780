// One branch of ASPP and its share of the projection, tile by tile: neither exists as a whole. Opens the target as
// base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_ASPP_ASPP_BRANCHES_H_
#define KSEG_OPS_ASPP_ASPP_BRANCHES_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/atrous.h"
#include "base/conv_axis.h"
#include "base/gemm_types.h"
#include "base/parallel_for.h"
#include "ops/aspp/aspp.h"

#include "base/kernel.h"

#include "base/gemm.h"
#include "base/gemm_activate.h"
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
  const int64_t height = x.shape[1], width = x.shape[2], channels = x.shape[3];
  const int64_t pixels = x.shape[0] * height * width, outputs = branch.filters.shape[3];
  ConvAxis row_axis, column_axis;
  // Checked before: these calls only fill the axes in.
  (void)make_conv_axis("height", height, branch.filters.shape[0], branch.rate[0], Padding::kSame, &row_axis).ok();
  (void)make_conv_axis("width", width, branch.filters.shape[1], branch.rate[1], Padding::kSame, &column_axis).ok();
  const int64_t strip = tap_strip_pixels(pixels, std::max(outputs, columns), parallel_for.max_threads());
  const int64_t cost = strip * (branch.filters.size() + outputs * columns) / 16;
  parallel_for.run((pixels + strip - 1) / strip, cost, [&](int64_t first, int64_t last) {
    TapScratch scratch;
    AlignedFloats buffer(strip * outputs);
    std::vector<float*> sums(strip), to(strip);
    std::vector<const float*> from(kTapPanelRows);
    for (int64_t i = 0; i < strip; ++i) sums[i] = buffer.data() + i * outputs;
    for (int64_t unit = first; unit < last; ++unit) {
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
  });
}

// The depthwise part of a separable branch.
template <class T>
struct AsppDepthwise {
  const T* x;
  int64_t channels;
  AtrousAxis rows, columns;
  AlignedFloats weights;  // [taps][channels], with the scale
  const float* offset;

  AsppDepthwise(const View<const T, 4>& map, const AsppConvolution<T>& branch)
      : x(map.data), channels(map.shape[3]), weights(branch.depthwise.size()), offset(branch.depthwise_offset.data) {
    // Checked before: these calls only fill the axes in.
    (void)make_atrous_axis(map.shape[1], branch.depthwise.shape[0], branch.rate[0], true, &rows).ok();
    (void)make_atrous_axis(map.shape[2], branch.depthwise.shape[1], branch.rate[1], true, &columns).ok();
    const int64_t size = branch.depthwise.size();
    for (int64_t i = 0; i < size; ++i) {
      weights.data()[i] = to_float(branch.depthwise.data[i]) * branch.depthwise_scale.data[i % channels];
    }
  }
};

// What the outputs of a tile read: taps [first[i], first[i + 1]) for output i, none of them in the padding.
template <class T>
struct AsppTaps {
  struct Tap {
    const T* x;
    const float* weight;
  };
  std::vector<Tap> taps;
  std::vector<int64_t> first;

  void clear() {
    taps.clear();
    first.assign(1, 0);
  }
  void add(const AsppDepthwise<T>& depthwise, int64_t pixel) {
    const AtrousAxis &rows = depthwise.rows, &columns = depthwise.columns;
    const int64_t line = pixel / columns.output, column = pixel % columns.output - columns.pad;
    const int64_t image = line / rows.output * rows.input, row = line % rows.output - rows.pad;
    for (int64_t i = 0; i < rows.kernel; ++i) {
      const int64_t y = row + i * rows.rate;
      if (y < 0 || y >= rows.input) continue;
      for (int64_t j = 0; j < columns.kernel; ++j) {
        const int64_t at = column + j * columns.rate;
        if (at < 0 || at >= columns.input) continue;
        taps.push_back({depthwise.x + ((image + y) * columns.input + at) * depthwise.channels,
                        depthwise.weights.data() + (i * columns.kernel + j) * depthwise.channels});
      }
    }
    first.push_back(static_cast<int64_t>(taps.size()));
  }
};

inline constexpr int kAsppVectors = 4;

template <int vectors, class Activate, class T>
KSEG_INLINE void sum_taps(const AsppTaps<T>& list, int64_t output, int64_t channel, const float* offset,
                          const Activate& activation, float* to) {
  VecF sums[vectors];
  for (int v = 0; v < vectors; ++v) sums[v] = load(offset + channel + v * kLanesF);
  const auto* const end = list.taps.data() + list.first[output + 1];
  for (const auto* tap = list.taps.data() + list.first[output]; tap < end; ++tap) {
    const T* const from = tap->x + channel;
    const float* const weight = tap->weight + channel;
    for (int v = 0; v < vectors; ++v) sums[v] += load_float(from + v * kLanesF) * load(weight + v * kLanesF);
  }
  for (int v = 0; v < vectors; ++v) store(to + v * kLanesF, activate(sums[v], activation));
}

// panel[i * kGemmStride + c] for the outputs of a tile and channels begin + c, c < depth. A few channels of all outputs
// at a time: what one output loaded, its neighbours find in the cache.
template <class Activate, class T>
void fill_depthwise(const AsppDepthwise<T>& depthwise, const AsppTaps<T>& list, int64_t begin, int64_t depth,
                    const Activate& activation, float* panel) {
  const int64_t outputs = static_cast<int64_t>(list.first.size()) - 1;
  const float* const offset = depthwise.offset;
  int64_t c = 0;
  for (; c + kAsppVectors * kLanesF <= depth; c += kAsppVectors * kLanesF) {
    for (int64_t i = 0; i < outputs; ++i) {
      sum_taps<kAsppVectors>(list, i, begin + c, offset, activation, panel + i * kGemmStride + c);
    }
  }
  for (; c + kLanesF <= depth; c += kLanesF) {
    for (int64_t i = 0; i < outputs; ++i) {
      sum_taps<1>(list, i, begin + c, offset, activation, panel + i * kGemmStride + c);
    }
  }
  for (int64_t i = 0; i < outputs && c < depth; ++i) {
    float sums[kLanesF] = {};
    for (int64_t lane = 0; lane < depth - c; ++lane) {
      sums[lane] = offset[begin + c + lane];
      for (int64_t tap = list.first[i]; tap < list.first[i + 1]; ++tap) {
        sums[lane] += to_float(list.taps[tap].x[begin + c + lane]) * list.taps[tap].weight[begin + c + lane];
      }
    }
    store(sums, activate(load(sums), activation));
    std::copy_n(sums, depth - c, panel + i * kGemmStride + c);
  }
}

// The same for a separable branch. Tiles of pixels a multiple of the rate apart, whose taps read the same inputs.
template <class T>
void add_separable_branch(const View<const T, 4>& x, const AsppConvolution<T>& branch, const T* weights,
                          int64_t columns, float* projected, const ParallelFor& parallel_for) {
  const int64_t channels = x.shape[3], outputs = branch.filters.shape[3];
  const AsppDepthwise<T> depthwise(x, branch);
  AlignedFloats pointwise(gemm_packed_size(channels, outputs)), share(gemm_packed_size(outputs, columns));
  gemm_pack(branch.filters.data, channels, outputs, nullptr, pointwise.data(), parallel_for);
  gemm_pack(weights, outputs, columns, nullptr, share.data(), parallel_for);
  const PackedB b{pointwise.data(), channels, outputs}, project{share.data(), outputs, columns};

  const AtrousTiles tiles(depthwise.rows, depthwise.columns, x.shape[0]);
  const Activation between = branch.depthwise_activation;
  const int64_t cost = tiles.most_outputs * (channels + columns) * outputs / kLanesF;
  parallel_for.run(tiles.count(), cost, [&](int64_t begin, int64_t end) {
    GemmScratch scratch(tiles.most_outputs, b, /*with_sums=*/false);
    AlignedFloats buffer(tiles.most_outputs * outputs);
    std::vector<float*> sums(tiles.most_outputs), to;
    std::vector<const float*> from(tiles.most_outputs);
    AsppTaps<T> taps;
    // Where the outputs of a tile lie in the input, which together are most of what it reads.
    std::vector<const T*> centres, next_centres;
    std::vector<const void*> soon;
    const auto find_centres = [&](int64_t tile, std::vector<const T*>* found) {
      found->clear();
      if (tile == end) return;
      tiles.visit_outputs(tile, [&](int64_t pixel) { found->push_back(x.data + pixel * channels); });
    };
    find_centres(begin, &next_centres);
    for (int64_t i = 0; i < tiles.most_outputs; ++i) sums[i] = buffer.data() + i * outputs;
    for (int64_t tile = begin; tile < end; ++tile) {
      centres.swap(next_centres);
      find_centres(tile + 1, &next_centres);
      to.clear();
      taps.clear();
      tiles.visit_outputs(tile, [&](int64_t pixel) {
        to.push_back(projected + pixel * columns);
        taps.add(depthwise, pixel);
      });
      const int64_t count = static_cast<int64_t>(to.size());
      const auto fill = [&](int64_t first, int64_t depth, float* panel) {
        switch (between) {
          case Activation::kNone:
            return fill_depthwise(depthwise, taps, first, depth,
                                  std::integral_constant<Activation, Activation::kNone>(), panel);
          case Activation::kRelu:
            return fill_depthwise(depthwise, taps, first, depth,
                                  std::integral_constant<Activation, Activation::kRelu>(), panel);
          default:
            return fill_depthwise(depthwise, taps, first, depth, between, panel);
        }
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
  });
}

}  // namespace
KSEG_KERNEL_END

#endif  // KSEG_OPS_ASPP_ASPP_BRANCHES_H_
