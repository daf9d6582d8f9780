// A convolution as matrix products, tap by tap, over the pixels of a strip for which the tap meets the input: what
// would be read from the padding is neither copied nor multiplied. Opens the target as kernel.h does, so it is included
// last.
#ifndef KSEG_BASE_TAP_GEMM_H_
#define KSEG_BASE_TAP_GEMM_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/conv_axis.h"
#include "base/gemm_types.h"
#include "base/parallel_for.h"
#include "base/kernel.h"
#include "base/gemm.h"

KSEG_KERNEL_BEGIN

// Rows of A in one panel: 112 or 96.
inline constexpr int64_t kTapPanelRows = kGemmRows * (kGemmRows == 14 ? 8 : 16);
// Floats of one packed block of weights: it stays in the second-level cache while the panels of a strip pass by.
inline constexpr int64_t kTapBlockFloats = 128 * 1024;
// Floats of the sums of one strip.
inline constexpr int64_t kTapStripFloats = 144 * 1024;

// How much depth of a matrix with so many columns is packed at a time.
KSEG_INLINE int64_t tap_block_depth(int64_t depth, int64_t columns) {
  const int64_t fitting = kTapBlockFloats / gemm_padded_columns(columns);
  const int64_t unit = fitting < kGemmChain ? 16 : kGemmChain;  // whole chains
  return std::max<int64_t>(std::min({std::max(fitting / unit * unit, unit), depth, kGemmDepth}), 1);
}

// How many output pixels one task takes. Few, so that their sums stay in the cache while the weights pass by, and so
// that every thread has work; many, because each task packs all weights for itself.
KSEG_INLINE int64_t tap_strip_pixels(int64_t pixels, int64_t columns, int64_t threads) {
  const int64_t most = std::max<int64_t>(kTapStripFloats / gemm_padded_columns(columns), kGemmRows);
  // TensorFlow reports one thread more than it has cores for: its caller works, too. Cores mostly come in pairs, so an
  // even number of tasks leaves none of them idle at the end.
  const int64_t workers = threads > 1 ? threads / 2 * 2 : 1;
  int64_t strips = (pixels + most - 1) / most;
  strips = (strips + workers - 1) / workers * workers;
  return std::max<int64_t>((pixels + strips - 1) / strips, kGemmRows);
}

// What one task needs.
struct TapScratch {
  AlignedFloats panel{kTapPanelRows * kGemmStride};

  float* block(int64_t floats) {
    if (floats > block_floats_) {
      block_ = AlignedFloats(floats);
      block_floats_ = floats;
    }
    return block_.data();
  }

 private:
  AlignedFloats block_;
  int64_t block_floats_ = 0;
};

// c[i][0..columns) += A[i] * b for i < count, where b [depth, columns] lies as the user gave it and
// fill(first_row, rows, first_depth, depth, panel) makes rows of A.
template <class T, class Fill>
KSEG_INLINE void accumulate_product(int64_t count, const T* b, int64_t depth, int64_t columns, float* const* c,
                                    TapScratch* scratch, const Fill& fill) {
  if (count == 0) return;
  const int64_t step = tap_block_depth(depth, columns);
  float* const packed_floats = scratch->block(step * gemm_padded_columns(columns));
  for (int64_t first = 0; first < depth; first += step) {
    const int64_t block = std::min(depth - first, step);
    gemm_pack(b + first * columns, block, columns, nullptr, packed_floats, SerialFor());
    const PackedB packed{packed_floats, block, columns};
    const int64_t panels = (count + kTapPanelRows - 1) / kTapPanelRows;
    int64_t row = 0;
    for (int64_t panel = 0; panel < panels; ++panel) {
      const int64_t rows = (count - row) / (panels - panel);
      fill(row, rows, first, block, scratch->panel.data());
      gemm_panel(scratch->panel.data(), rows, packed, 0, /*add=*/true, nullptr, c + row);
      row += rows;
    }
  }
}

// Pixels [begin, end) of the output, counted over all images, that one tap serves: positions in the strip, and the
// pixel of the input that each reads.
struct TapPixels {
  std::vector<int64_t> position, source;

  void find(int64_t begin, int64_t end, const ConvAxis& rows, const ConvAxis& columns, int64_t tap_row,
            int64_t tap_column) {
    position.clear();
    source.clear();
    const int64_t x_first = columns.first_output(tap_column), x_last = columns.last_output(tap_column);
    const int64_t y_first = rows.first_output(tap_row), y_last = rows.last_output(tap_row);
    for (int64_t pixel = begin; pixel < end;) {
      const int64_t line = pixel / columns.output;
      const int64_t image = line / rows.output, y = line % rows.output;
      const int64_t line_begin = line * columns.output;
      const int64_t line_end = std::min(end, line_begin + columns.output);
      if (y >= y_first && y < y_last) {
        const int64_t from = image * rows.input + y + tap_row * rows.rate - rows.before;
        const int64_t shift = from * columns.input + tap_column * columns.rate - columns.before;
        const int64_t last = std::min(line_end - line_begin, x_last);
        for (int64_t x = std::max(pixel - line_begin, x_first); x < last; ++x) {
          position.push_back(line_begin + x - begin);
          source.push_back(shift + x);
        }
      }
      pixel = line_end;
    }
  }
};

// sums[i][0..F) += the convolution at output pixel begin + i, for i < end - begin.
template <class T>
void accumulate_convolution(const T* x, int64_t channels, const T* filters, int64_t columns, const ConvAxis& row_axis,
                            const ConvAxis& column_axis, int64_t begin, int64_t end, float* const* sums,
                            TapScratch* scratch) {
  TapPixels pixels;
  std::vector<float*> c;
  std::vector<const T*> from(kTapPanelRows);
  for (int64_t tap_row = 0; tap_row < row_axis.kernel; ++tap_row) {
    for (int64_t tap_column = 0; tap_column < column_axis.kernel; ++tap_column) {
      pixels.find(begin, end, row_axis, column_axis, tap_row, tap_column);
      c.clear();
      for (const int64_t position : pixels.position) c.push_back(sums[position]);
      const T* const weights = filters + (tap_row * column_axis.kernel + tap_column) * channels * columns;
      accumulate_product(static_cast<int64_t>(c.size()), weights, channels, columns, c.data(), scratch,
                         [&](int64_t row, int64_t rows, int64_t first, int64_t depth, float* panel) {
                           for (int64_t i = 0; i < rows; ++i) from[i] = x + pixels.source[row + i] * channels + first;
                           gemm_fill_panel(from.data(), rows, depth, panel);
                         });
    }
  }
}

KSEG_KERNEL_END

#endif  // KSEG_BASE_TAP_GEMM_H_
