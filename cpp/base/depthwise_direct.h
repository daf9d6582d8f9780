// Depthwise dilated convolution of 3 x 3 taps without a copy of the inputs: the nine weights of a vector of channels
// and the sums of a row of outputs stay in registers, each input is loaded once per row of outputs that it serves, and
// what lies in the padding is neither read nor multiplied. Sums are chained in the order of convolve_pieces
// (base/depthwise.h). Opens the target as kernel.h does, so it is included last.
#ifndef KSEG_BASE_DEPTHWISE_DIRECT_H_
#define KSEG_BASE_DEPTHWISE_DIRECT_H_

#include <algorithm>
#include <cstdint>
#include <utility>

#include "base/atrous.h"
#include "base/gemm_types.h"
#include "base/kernel.h"

#include "base/depthwise.h"
#include "base/gemm_activate.h"

KSEG_KERNEL_BEGIN

// Outputs of a row in registers, at most.
#if defined(KSEG_TARGET_AVX512)
inline constexpr int kDirectColumns = 8;
#else
inline constexpr int kDirectColumns = 4;
#endif

// Whether the taps of every output are three with the middle one inside the map.
KSEG_INLINE bool direct_fits(const ConvAxis& axis) {
  return axis.kernel == 3 && axis.before <= axis.rate && axis.output - 1 - axis.before + axis.rate < axis.input;
}

// Activations that are a floor and a cap; the values that leave everything as it is (also NaN) stand for none.
struct DirectClamp {
  float least = -__builtin_inff();
  float most = __builtin_inff();
};
KSEG_INLINE bool direct_clamp(Activation activation, DirectClamp* clamp) {
  *clamp = DirectClamp();
  if (activation != Activation::kNone) clamp->least = 0;
  if (activation == Activation::kRelu6) clamp->most = 6;
  return activation == Activation::kNone || activation == Activation::kRelu || activation == Activation::kRelu6;
}

// Part of a pair of pieces, at most kDirectColumns outputs wide, and whole chunks of channels. Strides in elements.
template <class T>
struct DirectPart {
  const T* x;  // the first channel of the first pixel of the image
  int64_t first;  // where the first output's first tap lies from there on; perhaps outside
  int64_t row_step, column_step;
  int64_t rows;
  int64_t rows_begin, rows_end;  // tap ky of output row i lies in the map where i + ky is in here
  const float* filters;          // of the first chunk, as depthwise_pack made them
  int64_t chunks;
  DirectClamp clamp;
  float* to;
  int64_t to_row, to_column;
};

// `left`: the first output's first tap lies in the padding; `right`: the last one's last tap.
template <class T, int count, bool left, bool right>
__attribute__((noinline)) void convolve_direct(const DirectPart<T>& part) {
  constexpr int kFirst = left ? 1 : 0, kLast = count + (right ? 1 : 2);
  for (int64_t vector = 0; vector < part.chunks * kDepthwiseVectors; ++vector) {
    const float* const filters =
        part.filters + vector / kDepthwiseVectors * 10 * kDepthwiseChunk + vector % kDepthwiseVectors * kLanesF;
    VecF weights[9];
#pragma GCC unroll 9
    for (int tap = 0; tap < 9; ++tap) weights[tap] = load(filters + tap * kDepthwiseChunk);
    const VecF start = load(filters + 9 * kDepthwiseChunk);
    int64_t from = part.first + vector * kLanesF;
    float* to = part.to + vector * kLanesF;
    for (int64_t i = 0; i < part.rows; ++i, from += part.row_step, to += part.to_row) {
      VecF sums[count];
#pragma GCC unroll 8
      for (int p = 0; p < count; ++p) sums[p] = start;
#pragma GCC unroll 3
      for (int ky = 0; ky < 3; ++ky) {
        if (i + ky < part.rows_begin || i + ky >= part.rows_end) continue;
        const int64_t row = from + ky * part.row_step;
        VecF inputs[count + 2];
#pragma GCC unroll 10
        for (int t = kFirst; t < kLast; ++t) inputs[t] = load_float(part.x + (row + t * part.column_step));
#pragma GCC unroll 3
        for (int kx = 0; kx < 3; ++kx) {
#pragma GCC unroll 8
          for (int p = 0; p < count; ++p) {
            if (p + kx >= kFirst && p + kx < kLast) sums[p] += weights[ky * 3 + kx] * inputs[p + kx];
          }
        }
      }
#pragma GCC unroll 8
      for (int p = 0; p < count; ++p) {
        store(to + p * part.to_column, cap_at(floor_at(sums[p], part.clamp.least), part.clamp.most));
      }
    }
  }
}

template <class T, int... index>
KSEG_INLINE void convolve_direct(const DirectPart<T>& part, int64_t count, bool left, bool right,
                                 std::integer_sequence<int, index...>) {
  using Kernel = void (*)(const DirectPart<T>&);
  static constexpr Kernel kAll[] = {convolve_direct<T, index / 4 + 1, (index & 2) != 0, (index & 1) != 0>...};
  kAll[(count - 1) * 4 + (left ? 2 : 0) + (right ? 1 : 0)](part);
}

// The outputs of a pair of pieces for `chunks` whole chunks of channels: to[output * to_pixel + channel]. `x` is the
// first pixel of the image at the first channel.
template <class T>
KSEG_INLINE void convolve_pieces_direct(const T* x, const AtrousTiles& tiles, const AtrousPiece& rows,
                                        const AtrousPiece& columns, int64_t pixel_stride, const float* filters,
                                        int64_t chunks, const DirectClamp& clamp, float* to, int64_t to_pixel) {
  const ConvAxis &row_axis = tiles.row_axis, &column_axis = tiles.column_axis;
  DirectPart<T> part;
  part.x = x;
  part.column_step = column_axis.rate * pixel_stride;
  part.row_step = row_axis.rate * column_axis.input * pixel_stride;
  part.rows = rows.count;
  // In steps of the rate from the first tap of the first output on, counted before taps that meet nothing are left out.
  part.rows_begin = rows.first_tap + rows.inside_begin;
  part.rows_end = rows.first_tap + rows.inside_end;
  part.filters = filters;
  part.chunks = chunks;
  part.clamp = clamp;
  part.to_row = columns.count * to_pixel;
  part.to_column = to_pixel;
  const bool left = columns.first_tap + columns.inside_begin > 0;
  const bool right = columns.first_tap + columns.inside_end < columns.count + 2;
  const int64_t y = rows.first - row_axis.before;
  const int64_t parts = (columns.count + kDirectColumns - 1) / kDirectColumns;
  for (int64_t index = 0; index < parts; ++index) {
    const int64_t begin = columns.count * index / parts, end = columns.count * (index + 1) / parts;
    const int64_t at = columns.first + begin * column_axis.rate - column_axis.before;
    part.first = (y * column_axis.input + at) * pixel_stride;
    part.to = to + begin * to_pixel;
    convolve_direct(part, end - begin, left && begin == 0, right && end == columns.count,
                    std::make_integer_sequence<int, 4 * kDirectColumns>());
  }
}

KSEG_KERNEL_END

#endif  // KSEG_BASE_DEPTHWISE_DIRECT_H_
