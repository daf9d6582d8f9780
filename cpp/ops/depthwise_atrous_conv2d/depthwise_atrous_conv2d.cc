#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/gemm_types.h"
#include "base/huge_pages.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_check.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "base/depthwise.h"  // target code only

KSEG_KERNEL_BEGIN
namespace {

template <class T>
KSEG_INLINE void put_lanes(T* to, VecF value, int64_t lanes) {
  if (lanes >= kLanesF) {
    store_float(to, value);
    return;
  }
  float values[kLanesF];
  store(values, value);
  for (int64_t lane = 0; lane < lanes; ++lane) to[lane] = from_float<T>(values[lane]);
}

// dst += the products of one tap row with T taps: sums over the outputs of a pair of pieces, for one vector of
// channels.
template <int count>
KSEG_INLINE void correlate_taps(const float* block, int64_t block_stride, const float* gradient, int64_t rows,
                                int64_t columns, float* sums) {
  VecF sum[count];
  for (int t = 0; t < count; ++t) sum[t] = load(sums + t * kDepthwiseChunk);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const VecF value = load(gradient + (i * columns + j) * kDepthwiseChunk);
      const float* const from = block + i * block_stride + j * kDepthwiseChunk;
#pragma GCC unroll 8
      for (int t = 0; t < count; ++t) sum[t] += value * load(from + t * kDepthwiseChunk);
    }
  }
  for (int t = 0; t < count; ++t) store(sums + t * kDepthwiseChunk, sum[t]);
}
// Three rows of three taps at once: nine sums in registers for one load of the gradient.
KSEG_INLINE void correlate_3x3(const float* block, int64_t block_stride, const float* gradient, int64_t rows,
                               int64_t columns, float* sums) {
  VecF sum[9];
  for (int t = 0; t < 9; ++t) sum[t] = load(sums + t * kDepthwiseChunk);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const VecF value = load(gradient + (i * columns + j) * kDepthwiseChunk);
      const float* const from = block + i * block_stride + j * kDepthwiseChunk;
#pragma GCC unroll 9
      for (int t = 0; t < 9; ++t) sum[t] += value * load(from + t / 3 * block_stride + t % 3 * kDepthwiseChunk);
    }
  }
  for (int t = 0; t < 9; ++t) store(sums + t * kDepthwiseChunk, sum[t]);
}

// sums [tap][kDepthwiseChunk] += what a pair of pieces contributes; `gradient` holds its outputs.
KSEG_INLINE void correlate_pieces(const float* block, const AtrousTiles& tiles, const AtrousPiece& rows,
                                  const AtrousPiece& columns, const float* gradient, int vectors, float* sums) {
  const int64_t kernel_columns = tiles.column_axis.kernel;
  const int64_t stride = columns.inputs() * kDepthwiseChunk;
  if (rows.taps == 0 || columns.taps == 0) return;
  for (int v = 0; v < vectors; ++v, block += kLanesF, gradient += kLanesF, sums += kLanesF) {
    if (rows.taps == 3 && columns.taps == 3 && tiles.row_axis.kernel == 3 && kernel_columns == 3) {
      correlate_3x3(block, stride, gradient, rows.count, columns.count, sums);
      continue;
    }
    for (int64_t ky = 0; ky < rows.taps; ++ky) {
      float* const to = sums + ((rows.first_tap + ky) * kernel_columns + columns.first_tap) * kDepthwiseChunk;
      int64_t kx = 0;
      const auto run = [&](auto size) {
        constexpr int kSize = decltype(size)::value;
        correlate_taps<kSize>(block + ky * stride + kx * kDepthwiseChunk, stride, gradient, rows.count, columns.count,
                              to + kx * kDepthwiseChunk);
        kx += kSize;
      };
      while (columns.taps - kx >= 4) run(std::integral_constant<int, 4>());
      if (columns.taps - kx == 3) run(std::integral_constant<int, 3>());
      if (columns.taps - kx == 2) run(std::integral_constant<int, 2>());
      if (columns.taps - kx == 1) run(std::integral_constant<int, 1>());
    }
  }
}

// The convolution of one map with packed filters, to outputs of any type: forward, and backward to x. `sources` sets of
// filters and channel maps are summed, of which there is more than one only where outputs are summed over a depth
// multiplier.
struct Source {
  const float* filters;
  ChannelMap map;
};

template <class T>
void convolve_map(const T* from, int64_t image_size, const AtrousTiles& tiles, const std::vector<Source>& sources,
                  int64_t channels, T* to, const ParallelFor& parallel_for) {
  const int64_t taps = tiles.row_axis.kernel * tiles.column_axis.kernel;
  const int64_t cost = tiles.most_outputs * channels * (taps + 4) * static_cast<int64_t>(sources.size()) / kLanesF;
  parallel_for.run(tiles.count(), cost, [&](int64_t begin, int64_t end) {
    AlignedFloats block(tiles.most_inputs * kDepthwiseChunk);
    BlockPadding padding;
    AlignedFloats sums(tiles.most_outputs * kDepthwiseChunk);
    std::vector<int64_t> outputs;
    for (int64_t tile = begin; tile < end; ++tile) {
      const T* const image = from + tiles.image_of(tile) * image_size;
      outputs.clear();
      tiles.visit_outputs(tile, [&](int64_t pixel) { outputs.push_back(pixel); });
      for (int64_t first = 0; first < channels; first += kDepthwiseChunk) {
        const int64_t count = std::min(channels - first, kDepthwiseChunk);
        const int vectors = static_cast<int>((count + kLanesF - 1) / kLanesF);
        int64_t output = 0;
        tiles.visit_pairs(tile, [&](const AtrousPiece& rows, const AtrousPiece& columns) {
          for (size_t s = 0; s < sources.size(); ++s) {
            gather_inputs(image, tiles, rows, columns, sources[s].map, first, count, block.data(), &padding);
            const float* const filters = sources[s].filters + first * (taps + 1);
            if (sources.size() == 1) {
              convolve_pieces(block.data(), tiles, rows, columns, filters, vectors, [&](int64_t p, int v, VecF sum) {
                put_lanes(to + outputs[output + p] * channels + first + v * kLanesF, sum, count - v * kLanesF);
              });
              continue;
            }
            convolve_pieces(block.data(), tiles, rows, columns, filters, vectors, [&](int64_t p, int v, VecF sum) {
              float* const at = sums.data() + p * kDepthwiseChunk + v * kLanesF;
              if (s > 0) sum += load(at);
              store(at, sum);
              if (s + 1 == sources.size()) {
                put_lanes(to + outputs[output + p] * channels + first + v * kLanesF, sum, count - v * kLanesF);
              }
            });
          }
          output += rows.count * columns.count;
        });
      }
    }
  });
}

}  // namespace

template <class T>
Status depthwise_atrous_kernel(const View<const T, 4>& x, const View<const T, 4>& filters, const ConvAxis& rows,
                               const ConvAxis& columns, const View<T, 4>& output, const ParallelFor& parallel_for) {
  const int64_t taps = rows.kernel * columns.kernel, channels = output.shape[3];
  AlignedFloats packed(depthwise_packed_size(taps, channels));
  depthwise_pack(filters.data, taps, channels, channels, 1, false, nullptr, nullptr, packed.data());
  const AtrousTiles tiles(rows, columns, x.shape[0]);
  const ChannelMap map{x.shape[3], 0, filters.shape[3], 1};
  convolve_map(x.data, rows.input * columns.input * x.shape[3], tiles, {{packed.data(), map}}, channels, output.data,
               parallel_for);
  return Status();
}

template <class T>
Status depthwise_atrous_input_grad_kernel(const View<const T, 4>& gradient, const View<const T, 4>& filters,
                                          const ConvAxis& rows, const ConvAxis& columns, const View<T, 4>& x_gradient,
                                          const ParallelFor& parallel_for) {
  const int64_t taps = rows.kernel * columns.kernel, channels = x_gradient.shape[3], multiplier = filters.shape[3];
  const int64_t size = depthwise_packed_size(taps, channels);
  AlignedFloats packed(size * multiplier);
  std::vector<Source> sources;
  for (int64_t j = 0; j < multiplier; ++j) {
    float* const to = packed.data() + j * size;
    depthwise_pack(filters.data + j, taps, channels, channels * multiplier, multiplier, true, nullptr, nullptr, to);
    sources.push_back({to, {channels * multiplier, j, 1, multiplier}});
  }
  const AtrousTiles tiles(transpose(rows), transpose(columns), x_gradient.shape[0]);
  convolve_map(gradient.data, rows.output * columns.output * gradient.shape[3], tiles, sources, channels,
               x_gradient.data, parallel_for);
  return Status();
}

template <class T>
Status depthwise_atrous_filter_grad_kernel(const View<const T, 4>& x, const View<const T, 4>& gradient,
                                           const ConvAxis& rows, const ConvAxis& columns,
                                           const View<T, 4>& filters_gradient, const ParallelFor& parallel_for) {
  constexpr int64_t kMostParts = 16;  // of the output; fixed, so that sums are the same for any number of threads
  constexpr int64_t kGroup = 4;       // chunks of channels per unit of work
  const int64_t taps = rows.kernel * columns.kernel;
  const int64_t channels = gradient.shape[3], multiplier = filters_gradient.shape[3];
  const int64_t chunks = depthwise_chunks(channels);
  const int64_t groups = (chunks + kGroup - 1) / kGroup;
  const AtrousTiles tiles(rows, columns, x.shape[0]);
  const int64_t parts = std::min(tiles.count(), kMostParts);
  const ChannelMap x_map{x.shape[3], 0, multiplier, 1}, gradient_map{channels, 0, 1, 1};
  const int64_t part_size = chunks * taps * kDepthwiseChunk;  // [chunk][tap][kDepthwiseChunk]
  AlignedFloats partial(parts * part_size);
  const int64_t cost = tiles.count() / parts * tiles.most_outputs * kGroup * kDepthwiseChunk * (taps + 4) / kLanesF;
  const int64_t image_size = rows.input * columns.input * x.shape[3];
  parallel_for.run(parts * groups, cost, [&](int64_t begin, int64_t end) {
    AlignedFloats block(tiles.most_inputs * kDepthwiseChunk);
    BlockPadding padding;
    AlignedFloats outputs(tiles.most_outputs * kDepthwiseChunk);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t part = unit / groups;
      const int64_t first_chunk = unit % groups * kGroup, last_chunk = std::min(first_chunk + kGroup, chunks);
      float* const sums = partial.data() + part * part_size;
      std::fill(sums + first_chunk * taps * kDepthwiseChunk, sums + last_chunk * taps * kDepthwiseChunk, 0.0f);
      const int64_t last_tile = tiles.count() * (part + 1) / parts;
      for (int64_t tile = tiles.count() * part / parts; tile < last_tile; ++tile) {
        const T* const image = x.data + tiles.image_of(tile) * image_size;
        for (int64_t chunk = first_chunk; chunk < last_chunk; ++chunk) {
          const int64_t first = chunk * kDepthwiseChunk, count = std::min(channels - first, kDepthwiseChunk);
          float* to = outputs.data();
          tiles.visit_outputs(tile, [&](int64_t pixel) {
            gather_channels(gradient.data + pixel * channels, gradient_map, first, count, to);
            to += kDepthwiseChunk;
          });
          const float* outputs_of_pair = outputs.data();
          tiles.visit_pairs(tile, [&](const AtrousPiece& row_piece, const AtrousPiece& column_piece) {
            gather_inputs(image, tiles, row_piece, column_piece, x_map, first, count, block.data(), &padding);
            correlate_pieces(block.data(), tiles, row_piece, column_piece, outputs_of_pair,
                             static_cast<int>((count + kLanesF - 1) / kLanesF), sums + chunk * taps * kDepthwiseChunk);
            outputs_of_pair += row_piece.count * column_piece.count * kDepthwiseChunk;
          });
        }
      }
    }
  });
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t first = chunk * kDepthwiseChunk, count = std::min(channels - first, kDepthwiseChunk);
      const float* const from = partial.data() + (chunk * taps + tap) * kDepthwiseChunk;
      for (int64_t i = 0; i < count; i += kLanesF) {
        VecF sum = load(from + i);
        for (int64_t part = 1; part < parts; ++part) sum += load(from + part * part_size + i);
        put_lanes(filters_gradient.data + tap * channels + first + i, sum, count - i);
      }
    }
  }
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                     \
  template Status depthwise_atrous_kernel<T>(const View<const T, 4>&, const View<const T, 4>&, const ConvAxis&, \
                                             const ConvAxis&, const View<T, 4>&, const ParallelFor&);           \
  template Status depthwise_atrous_input_grad_kernel<T>(const View<const T, 4>&, const View<const T, 4>&,       \
                                                        const ConvAxis&, const ConvAxis&, const View<T, 4>&,    \
                                                        const ParallelFor&);                                    \
  template Status depthwise_atrous_filter_grad_kernel<T>(const View<const T, 4>&, const View<const T, 4>&,      \
                                                         const ConvAxis&, const ConvAxis&, const View<T, 4>&,   \
                                                         const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status depthwise_atrous_kernel(const View<const T, 4>&, const View<const T, 4>&,
                                                                      const ConvAxis&, const ConvAxis&,
                                                                      const View<T, 4>&, const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T> Status depthwise_atrous_input_grad_kernel(const View<const T, 4>&,
                                                                                 const View<const T, 4>&,
                                                                                 const ConvAxis&, const ConvAxis&,
                                                                                 const View<T, 4>&, const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T>
                    Status depthwise_atrous_filter_grad_kernel(const View<const T, 4>&, const View<const T, 4>&,
                                                               const ConvAxis&, const ConvAxis&, const View<T, 4>&,
                                                               const ParallelFor&))

namespace {

template <class T>
void prepare(const View<T, 4>& view) {
  prefer_huge_pages(view.data, view.size() * static_cast<int64_t>(sizeof(T)));
}

}  // namespace

Status depthwise_atrous_shape(const Shape<4>& x, const Shape<4>& filters, const ConvOptions& options,
                              Shape<4>* output) {
  ConvAxis rows, columns;
  return check_depthwise_atrous_sizes(x, filters, options, &rows, &columns, output);
}

template <class T>
Status depthwise_atrous_conv2d(const View<const T, 4>& x, const View<const T, 4>& filters, const ConvOptions& options,
                               const View<T, 4>& output, const ParallelFor& parallel_for) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(check_depthwise_atrous(x.shape, filters.shape, output.shape, options, &rows, &columns));
  if (output.empty()) return Status();
  prepare(output);
  KSEG_RETURN_DISPATCH(depthwise_atrous_kernel<T>, x, filters, rows, columns, output, parallel_for);
}

template <class T>
Status depthwise_atrous_conv2d_input_grad(const View<const T, 4>& output_gradient, const View<const T, 4>& filters,
                                          const ConvOptions& options, const View<T, 4>& x_gradient,
                                          const ParallelFor& parallel_for) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(
      check_depthwise_atrous(x_gradient.shape, filters.shape, output_gradient.shape, options, &rows, &columns));
  if (x_gradient.empty()) return Status();
  prepare(x_gradient);
  if (output_gradient.empty()) {
    std::fill_n(x_gradient.data, x_gradient.size(), T{});
    return Status();
  }
  KSEG_RETURN_DISPATCH(depthwise_atrous_input_grad_kernel<T>, output_gradient, filters, rows, columns, x_gradient,
                       parallel_for);
}

template <class T>
Status depthwise_atrous_conv2d_filter_grad(const View<const T, 4>& x, const View<const T, 4>& output_gradient,
                                           const ConvOptions& options, const View<T, 4>& filters_gradient,
                                           const ParallelFor& parallel_for) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(
      check_depthwise_atrous(x.shape, filters_gradient.shape, output_gradient.shape, options, &rows, &columns));
  if (filters_gradient.empty()) return Status();
  if (output_gradient.empty()) {
    std::fill_n(filters_gradient.data, filters_gradient.size(), T{});
    return Status();
  }
  KSEG_RETURN_DISPATCH(depthwise_atrous_filter_grad_kernel<T>, x, output_gradient, rows, columns, filters_gradient,
                       parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                                         \
  template KSEG_API Status depthwise_atrous_conv2d<T>(const View<const T, 4>&, const View<const T, 4>&,             \
                                                      const ConvOptions&, const View<T, 4>&, const ParallelFor&);   \
  template KSEG_API Status depthwise_atrous_conv2d_input_grad<T>(                                                   \
      const View<const T, 4>&, const View<const T, 4>&, const ConvOptions&, const View<T, 4>&, const ParallelFor&); \
  template KSEG_API Status depthwise_atrous_conv2d_filter_grad<T>(                                                  \
      const View<const T, 4>&, const View<const T, 4>&, const ConvOptions&, const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
