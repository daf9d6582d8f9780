// Depthwise dilated convolution of one tile (base/atrous.h), a chunk of channels at a time: the inputs of a piece are
// gathered into a small block in the cache, in float32 and with zeros for the padding, and all taps read from there.
// Opens the target as kernel.h does, so it is included last.
#ifndef KSEG_BASE_DEPTHWISE_H_
#define KSEG_BASE_DEPTHWISE_H_

#include <cstdint>
#include <type_traits>

#include "base/atrous.h"
#include "base/gemm_types.h"
#include "base/half.h"
#include "base/kernel.h"

KSEG_KERNEL_BEGIN

inline constexpr int64_t kDepthwiseChunk = 32;  // channels; two cache lines
inline constexpr int kDepthwiseVectors = kDepthwiseChunk / kLanesF;

KSEG_INLINE int64_t depthwise_chunks(int64_t channels) { return (channels + kDepthwiseChunk - 1) / kDepthwiseChunk; }

// Filters by chunk: [chunk][tap][kDepthwiseChunk], zeros beyond the last channel, then one vector per channel of what
// the sums start from: [chunk][taps + 1][kDepthwiseChunk] in all.
KSEG_INLINE int64_t depthwise_packed_size(int64_t taps, int64_t channels) {
  return depthwise_chunks(channels) * (taps + 1) * kDepthwiseChunk;
}
// filters [taps, channels]; `reverse` turns the taps round, as the gradient wants them. `tap_stride` and
// `channel_stride` in elements.
template <class T>
KSEG_INLINE void depthwise_pack(const T* filters, int64_t taps, int64_t channels, int64_t tap_stride,
                                int64_t channel_stride, bool reverse, const float* scale, const float* offset,
                                float* packed) {
  for (int64_t first = 0; first < channels; first += kDepthwiseChunk) {
    for (int64_t tap = 0; tap <= taps; ++tap) {
      const T* const from = filters + (reverse ? taps - 1 - tap : tap) * tap_stride;
      if (channel_stride == 1 && tap < taps && first + kDepthwiseChunk <= channels) {
        for (int64_t i = first; i < first + kDepthwiseChunk; i += kLanesF, packed += kLanesF) {
          const VecF value = load_float(from + i);
          store(packed, scale ? value * load(scale + i) : value);
        }
        continue;
      }
      for (int64_t i = 0; i < kDepthwiseChunk; ++i, ++packed) {
        const int64_t channel = first + i;
        float value = 0;
        if (channel < channels) {
          if (tap < taps) {
            value = to_float(from[channel * channel_stride]) * (scale ? scale[channel] : 1.0f);
          } else if (offset) {
            value = offset[channel];
          }
        }
        *packed = value;
      }
    }
  }
}

// Which channels of the source make channel k of the block: pixel[offset + k / divide * stride].
struct ChannelMap {
  int64_t pixel_stride;  // elements from one pixel to the next
  int64_t offset = 0;
  int64_t divide = 1;  // the depth multiplier where sources are inputs and k counts outputs
  int64_t stride = 1;  // the depth multiplier where sources are outputs and k counts inputs
};

template <class T>
KSEG_INLINE void gather_channels(const T* pixel, const ChannelMap& map, int64_t first, int64_t count, float* to) {
  if (map.divide == 1 && map.stride == 1) {
    const T* const from = pixel + map.offset + first;
    if (count == kDepthwiseChunk) {
      for (int v = 0; v < kDepthwiseVectors; ++v) store(to + v * kLanesF, load_float(from + v * kLanesF));
      __builtin_prefetch(from + kDepthwiseChunk);
      __builtin_prefetch(from + kDepthwiseChunk + kDepthwiseChunk / 2);
      return;
    }
    for (int64_t i = 0; i < count; ++i) to[i] = to_float(from[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) {
      to[i] = to_float(pixel[map.offset + (first + i) / map.divide * map.stride]);
    }
  }
  for (int64_t i = count; i < kDepthwiseChunk; ++i) to[i] = 0;
}

// Where a block has zeros for the padding. A block that has them in the same places already keeps them.
struct BlockPadding {
  int64_t bounds[6] = {-1, -1, -1, -1, -1, -1};
};
KSEG_INLINE bool has_padding(BlockPadding* padding, const AtrousPiece& rows, const AtrousPiece& columns) {
  const int64_t bounds[6] = {rows.inputs(),    rows.inside_begin,    rows.inside_end,
                             columns.inputs(), columns.inside_begin, columns.inside_end};
  bool same = true;
  for (int i = 0; i < 6; ++i) same = same && padding->bounds[i] == bounds[i];
  for (int i = 0; i < 6; ++i) padding->bounds[i] = bounds[i];
  return same;
}
KSEG_INLINE void clear_pixels(float* block, int64_t begin, int64_t end) {
  for (int64_t i = begin * kDepthwiseChunk; i < end * kDepthwiseChunk; i += kLanesF) store(block + i, VecF{});
}

// The inputs of a pair of pieces: [rows.inputs()][columns.inputs()][kDepthwiseChunk]. `image` is the first pixel.
template <class T>
KSEG_INLINE void gather_inputs(const T* image, const AtrousTiles& tiles, const AtrousPiece& rows,
                               const AtrousPiece& columns, const ChannelMap& map, int64_t first, int64_t count,
                               float* block, BlockPadding* padding) {
  const int64_t width = columns.inputs();
  if (!has_padding(padding, rows, columns)) {
    for (int64_t i = 0; i < rows.inputs(); ++i) {
      const bool inside = i >= rows.inside_begin && i < rows.inside_end;
      clear_pixels(block, i * width, i * width + (inside ? columns.inside_begin : width));
      if (inside) clear_pixels(block, i * width + columns.inside_end, (i + 1) * width);
    }
  }
  const int64_t step = tiles.column_axis.rate * map.pixel_stride;
  for (int64_t i = rows.inside_begin; i < rows.inside_end; ++i) {
    const int64_t y = rows.first_input + i * tiles.row_axis.rate;
    int64_t x = columns.first_input + columns.inside_begin * tiles.column_axis.rate;
    x = (y * tiles.column_axis.input + x) * map.pixel_stride;
    for (int64_t j = columns.inside_begin; j < columns.inside_end; ++j, x += step) {
      gather_channels(image + x, map, first, count, block + (i * width + j) * kDepthwiseChunk);
    }
  }
}

// `count` outputs of a row from the block at their first tap. With `three` the taps are 3 x 3, and unrolled.
template <int count, bool three, class Store>
KSEG_INLINE void convolve_run(const float* block, int64_t row_stride, const float* filters, int64_t filter_rows,
                              int64_t filter_columns, int64_t filter_stride, VecF start, const Store& put) {
  VecF sums[count];
  for (int p = 0; p < count; ++p) sums[p] = start;
  const auto add_tap = [&](int64_t ky, int64_t kx) __attribute__((always_inline)) {
    const VecF weight = load(filters + (ky * filter_stride + kx) * kDepthwiseChunk);
    const float* const from = block + ky * row_stride + kx * kDepthwiseChunk;
#pragma GCC unroll 8
    for (int p = 0; p < count; ++p) sums[p] += weight * load(from + p * kDepthwiseChunk);
  };
  if constexpr (three) {
#pragma GCC unroll 9
    for (int tap = 0; tap < 9; ++tap) add_tap(tap / 3, tap % 3);
  } else {
    for (int64_t ky = 0; ky < filter_rows; ++ky) {
      for (int64_t kx = 0; kx < filter_columns; ++kx) add_tap(ky, kx);
    }
  }
  for (int p = 0; p < count; ++p) put(p, sums[p]);
}

// What one call of convolve_pieces works on, for one vector of channels.
struct ConvolvedPieces {
  const float* block;
  int64_t row_stride;
  const float* filters;
  int64_t filter_rows, filter_columns, filter_stride;
  int64_t rows, columns;
  VecF start;
};

template <bool three, class Store>
KSEG_INLINE void convolve_vector(const ConvolvedPieces& pieces, const Store& put) {
  for (int64_t i = 0; i < pieces.rows; ++i) {
    int64_t j = 0;
    const auto run = [&](auto size) __attribute__((always_inline)) {
      constexpr int kSize = decltype(size)::value;
      convolve_run<kSize, three>(
          pieces.block + i * pieces.row_stride + j * kDepthwiseChunk, pieces.row_stride, pieces.filters,
          pieces.filter_rows, pieces.filter_columns, pieces.filter_stride, pieces.start,
          [&](int p, VecF sum) __attribute__((always_inline)) { put(i * pieces.columns + j + p, sum); });
      j += kSize;
    };
    while (pieces.columns - j >= 8) run(std::integral_constant<int, 8>());
    switch (pieces.columns - j) {
      case 7:
        run(std::integral_constant<int, 7>());
        break;
      case 6:
        run(std::integral_constant<int, 6>());
        break;
      case 5:
        run(std::integral_constant<int, 5>());
        break;
      case 4:
        run(std::integral_constant<int, 4>());
        break;
      case 3:
        run(std::integral_constant<int, 3>());
        break;
      case 2:
        run(std::integral_constant<int, 2>());
        break;
      case 1:
        run(std::integral_constant<int, 1>());
        break;
    }
  }
}

// All outputs of a pair of pieces for one chunk. `filters` is the chunk's part of what depthwise_pack made, the last
// vectors of which are what sums start from; put(output, vector, sums) takes the results.
template <class Store>
KSEG_INLINE void convolve_pieces(const float* block, const AtrousTiles& tiles, const AtrousPiece& rows,
                                 const AtrousPiece& columns, const float* filters, int vectors, const Store& put) {
  const int64_t kernel_columns = tiles.column_axis.kernel;
  const float* const starts = filters + tiles.row_axis.kernel * kernel_columns * kDepthwiseChunk;
  const float* const used = filters + (rows.first_tap * kernel_columns + columns.first_tap) * kDepthwiseChunk;
  const int64_t tap_columns = columns.taps, tap_rows = tap_columns > 0 ? rows.taps : 0;
  for (int v = 0; v < vectors; ++v) {
    const ConvolvedPieces pieces{block + v * kLanesF,
                                 columns.inputs() * kDepthwiseChunk,
                                 used + v * kLanesF,
                                 tap_rows,
                                 tap_columns,
                                 kernel_columns,
                                 rows.count,
                                 columns.count,
                                 load(starts + v * kLanesF)};
    const auto put_vector = [&](int64_t output, VecF sum) __attribute__((always_inline)) { put(output, v, sum); };
    if (tap_rows == 3 && tap_columns == 3) {
      convolve_vector<true>(pieces, put_vector);
    } else {
      convolve_vector<false>(pieces, put_vector);
    }
  }
}

KSEG_KERNEL_END

#endif  // KSEG_BASE_DEPTHWISE_H_
