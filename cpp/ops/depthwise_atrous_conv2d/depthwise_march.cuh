// What the kernels for 3 x 3 taps without depth multiplier share: a thread takes four channels of one column of outputs
// and goes down the rows, `rate` at a time, so that each input is loaded once per column that reads it.
#ifndef KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_MARCH_CUH_
#define KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_MARCH_CUH_

#include <algorithm>
#include <cstdint>

#include "base/conv_axis.h"
#include "base/cuda/remainder_order.cuh"
#include "base/cuda/vector.cuh"

namespace kseg {

inline constexpr int kMarchVector = 4;
inline constexpr int kMarchTaps = 3;

template <class T>
using MarchPacked = Packed<T, kMarchVector>;

// Everything is known on the host; results do not depend on how columns are cut.
struct March {
  ConvAxis rows;
  ConvAxis columns;
  RemainderOrder column_order;
  int64_t batch;
  int64_t vectors;
  int group;  // of vectors that neighbouring threads take: a power of two up to 8 that divides `vectors`
  int64_t remainders;  // of rows
  int64_t parts;  // that the outputs of a column and remainder are cut into
  int64_t part_rows;  // outputs of a part

  // Threads enough for every multiprocessor where the map allows it.
  March(const ConvAxis& row_axis, const ConvAxis& column_axis, int64_t images, int64_t channels, int64_t wanted_threads)
      : rows(row_axis),
        columns(column_axis),
        column_order(column_axis.output, column_axis.rate),
        batch(images),
        vectors(channels / kMarchVector) {
    constexpr int64_t kLeastRows = 4, kMostRows = 1 << 20;
    group = 8;
    while (vectors % group != 0) group /= 2;
    remainders = std::min(rows.rate, rows.output);
    const int64_t longest = ceil_div(rows.output, remainders);
    const int64_t units = std::max<int64_t>(batch * remainders * columns.output * vectors, 1);
    parts = std::clamp<int64_t>(wanted_threads / units, 1, ceil_div(longest, kLeastRows));
    parts = std::max(parts, ceil_div(longest, kMostRows));
    part_rows = ceil_div(longest, parts);
    parts = ceil_div(longest, part_rows);
  }

  // Columns of outputs to go down, each of all channels.
  KSEG_HOST_DEVICE int64_t column_count() const { return batch * remainders * parts * columns.output; }
  bool fits() const { return rows.kernel == kMarchTaps && columns.kernel == kMarchTaps; }
};

// One column: outputs first_output + i * rate for i < count; steps t < count + kMarchTaps - 1 down the rows of inputs,
// first_input + t * rate, of which [first_step, last_step) lie on the map.
struct MarchColumn {
  int64_t image;
  int64_t column;
  int64_t first_output;
  int64_t first_input;
  int count;
  int first_step;
  int last_step;

  KSEG_DEVICE MarchColumn(const March& march, int64_t index) {
    column = march.column_order.place(index % march.columns.output);
    index /= march.columns.output;
    const int64_t first = index % march.parts * march.part_rows;
    index /= march.parts;
    const int64_t remainder = index % march.remainders;
    image = index / march.remainders;
    const int64_t rate = march.rows.rate;
    const int64_t outputs = (march.rows.output - remainder + rate - 1) / rate;
    count = static_cast<int>(max(min(march.part_rows, outputs - first), int64_t{0}));
    first_output = remainder + first * rate;
    first_input = first_output - march.rows.before;
    const auto steps = [&](int64_t distance) {
      const int64_t most = count > 0 ? count + kMarchTaps - 1 : 0;
      return static_cast<int>(distance <= 0 ? 0 : min((distance + rate - 1) / rate, most));
    };
    first_step = steps(-first_input);
    last_step = steps(march.rows.input - first_input);
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_DEPTHWISE_ATROUS_CONV2D_DEPTHWISE_MARCH_CUH_
