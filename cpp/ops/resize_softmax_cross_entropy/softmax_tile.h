// Exponentials of the interpolated logits over a tile of outputs between four source pixels, their sums over classes,
// and the way back to the four. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_TILE_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_TILE_H_

#include "ops/resize_softmax_cross_entropy/resize_runs.h"

#include "base/argmax.h"
#include "ops/resize_softmax_cross_entropy/softmax_math.h"

KSEG_KERNEL_BEGIN

// A tile has at most 4 x 4 outputs, of which the numbers stand row by row, four to a row, whatever the tile's size.
constexpr int kSide = kRunLength;
constexpr int kOutputs = kSide * kSide;
constexpr int kChunks = kOutputs / kLanesF;  // vectors per tile
static_assert(kChunks >= 1);
// Rows of outputs whose sums fit into registers: wide targets have 32 of them, the others 16.
constexpr int kRowsAtOnce = kLanesF == 16 ? 4 : 2;

// Base-2 logits of the four source pixels, padded to whole vectors with numbers whose exponential is 0. Each pixel's
// largest is 0: subtracting a number from all classes of a pixel changes neither the loss nor the probabilities.
struct Corners {
  const float* upper_left;
  const float* upper_right;
  const float* lower_left;
  const float* lower_right;
};

// Sums over classes of the exponentials of logits less `shift`.
struct TileSums {
  alignas(KSEG_VECTOR_BYTES) float sum[kOutputs];
  alignas(KSEG_VECTOR_BYTES) float shift[kOutputs];
};

// A class's logit is a bilinear function of the place, so along a row of evenly spaced outputs its exponential is a
// geometric progression, and the ratio of that progression is one from row to row. Four exponentials per class give all
// of them: at the first output, the ratio downwards, the ratio of the first row and the ratio of ratios.
//
// Every factor must stay inside the range of float; the caller sees to it by kLeastProgression.
struct Progression {
  VecF start, down, ratio, ratio_ratio;
};

// Where the first output of a tile lies, and how far apart they are.
struct TileSteps {
  VecF x, y, right, down, both;

  TileSteps(const ResizeRun& row, const ResizeRun& column)
      : x(splat(column.first)),
        y(splat(row.first)),
        right(splat(column.step)),
        down(splat(row.step)),
        both(splat(row.step * column.step)) {}
};

KSEG_INLINE Progression progression_of(const Corners& corners, int32_t channel, const TileSteps& steps) {
  const VecF upper_left = load(corners.upper_left + channel);
  const VecF upper_right = load(corners.upper_right + channel);
  const VecF dy_left = load(corners.lower_left + channel) - upper_left;
  const VecF dy_right = load(corners.lower_right + channel) - upper_right;
  const VecF dxy = dy_right - dy_left;
  const VecF left = upper_left + dy_left * steps.y;
  const VecF dx = upper_right + dy_right * steps.y - left;
  return {exp2_of(left + dx * steps.x), exp2_of((dy_left + dxy * steps.x) * steps.down), exp2_of(dx * steps.right),
          exp2_of(dxy * steps.both)};
}

// All classes' progressions, before any is followed: both take long but wait for different things. `to` has room for
// four vectors per vector of classes.
KSEG_INLINE void store_progressions(const Corners& corners, int32_t padded, const TileSteps& steps, float* to) {
  for (int32_t channel = 0; channel < padded; channel += kLanesF, to += 4 * kLanesF) {
    const Progression progression = progression_of(corners, channel, steps);
    store(to, progression.start);
    store(to + kLanesF, progression.down);
    store(to + 2 * kLanesF, progression.ratio);
    store(to + 3 * kLanesF, progression.ratio_ratio);
  }
}

// `progressions`: room as above; it keeps them. `kept`, if kKeep, has room for kOutputs vectors per vector of classes.
template <bool kKeep>
void progression_sums(const Corners& corners, int32_t padded, const ResizeRun& row, const ResizeRun& column,
                      float* progressions, float* kept, TileSums* sums) {
  store_progressions(corners, padded, TileSteps(row, column), progressions);
  for (int first = 0; first < kSide; first += kRowsAtOnce) {
    VecF total[kRowsAtOnce * kSide];
    for (VecF& each : total) each = VecF{};
    const float* from = progressions;
    float* to = kept + first * kSide * kLanesF;
    for (int32_t channel = 0; channel < padded; channel += kLanesF, from += 4 * kLanesF, to += kOutputs * kLanesF) {
      VecF start = load(from);
      const VecF down = load(from + kLanesF);
      VecF ratio = load(from + 2 * kLanesF);
      const VecF ratio_ratio = load(from + 3 * kLanesF);
      for (int i = 0; i < first; ++i) {
        start *= down;
        ratio *= ratio_ratio;
      }
#pragma GCC unroll 4
      for (int i = 0; i < kRowsAtOnce; ++i) {
        VecF value = start;
#pragma GCC unroll 4
        for (int j = 0; j < kSide; ++j) {
          total[i * kSide + j] += value;
          if (kKeep) store(to + (i * kSide + j) * kLanesF, value);
          if (j + 1 < kSide) value *= ratio;
        }
        start *= down;
        ratio *= ratio_ratio;
      }
    }
    for (int i = 0; i < kRowsAtOnce * kSide; i += kLanesF) {
      store(sums->sum + first * kSide + i, join_each<Adding>(total + i));
      store(sums->shift + first * kSide + i, VecF{});
    }
  }
}

// Stores what `each` outputs sum to, kRows x kColumns of them.
template <class Op, int kRows, int kColumns>
KSEG_INLINE void store_joined(const VecF* each, float* to) {
  if constexpr (kColumns == kSide && kRows * kColumns >= kLanesF) {
    for (int i = 0; i < kRows * kColumns; i += kLanesF) store(to + i, join_each<Op>(each + i));
  } else {
    for (int i = 0; i < kRows; ++i) {
      for (int j = 0; j < kColumns; ++j) to[i * kSide + j] = join_lanes<Op>(each[i * kColumns + j]);
    }
  }
}

// Calls visit(output, value) with the logits of one vector of classes at rows [first, first + kRows) of outputs.
template <int kRows, int kColumns, class Visit>
KSEG_INLINE void interpolate(const Corners& corners, int32_t channel, int first, const ResizeRun& row,
                             const ResizeRun& column, const Visit& visit) {
  const VecF upper_left = load(corners.upper_left + channel);
  const VecF upper_right = load(corners.upper_right + channel);
  const VecF dy_left = load(corners.lower_left + channel) - upper_left;
  const VecF dy_right = load(corners.lower_right + channel) - upper_right;
#pragma GCC unroll 4
  for (int i = 0; i < kRows; ++i) {
    const VecF y = splat(row.lerps[first + i]);
    const VecF left = upper_left + dy_left * y;
    const VecF dx = upper_right + dy_right * y - left;
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) visit(i * kColumns + j, left + dx * splat(column.lerps[j]));
  }
}

// The same with an exponential for every output and class: for small tiles, and, with the largest logit of each output
// subtracted (`wide`), for logits of any range.
template <int kRows, int kColumns, bool kKeep>
void direct_sums(const Corners& corners, int32_t padded, const ResizeRun& row, const ResizeRun& column, bool wide,
                 float* kept, TileSums* sums) {
  constexpr int kAtOnce = kRows < kRowsAtOnce ? kRows : kRowsAtOnce;
  constexpr int kCount = kAtOnce * kColumns;
  if (kRows * kColumns < kOutputs) {
    for (float& sum : sums->sum) sum = 1.0f;
  }
  for (float& shift : sums->shift) shift = 0.0f;
  for (int first = 0; first < kRows; first += kAtOnce) {
    VecF each[kCount];
    float* const shift = sums->shift + first * kSide;
    if (wide) {
      for (VecF& most : each) most = splat(-3e38f);
      for (int32_t channel = 0; channel < padded; channel += kLanesF) {
        interpolate<kAtOnce, kColumns>(
            corners, channel, first, row, column,
            [&](int output, VecF value) __attribute__((always_inline)) { each[output] = larger(value, each[output]); });
      }
      store_joined<Largest, kAtOnce, kColumns>(each, shift);
    }
    for (VecF& total : each) total = VecF{};
    float* to = kept + first * kColumns * kLanesF;
    for (int32_t channel = 0; channel < padded; channel += kLanesF, to += kRows * kColumns * kLanesF) {
      interpolate<kAtOnce, kColumns>(
          corners, channel, first, row, column, [&](int output, VecF value) __attribute__((always_inline)) {
            const VecF power = exp2_of(value - splat(shift[output / kColumns * kSide + output % kColumns]));
            each[output] += power;
            if (kKeep) store(to + output * kLanesF, power);
          });
    }
    store_joined<Adding, kAtOnce, kColumns>(each, sums->sum + first * kSide);
  }
}

// Sums over classes of the kept exponentials times a number of each class.
template <int kRows, int kColumns>
void weigh_kept(const float* kept, int32_t padded, const float* weights, float* sums) {
  constexpr int kAtOnce = kRows < kRowsAtOnce ? kRows : kRowsAtOnce;
  for (int first = 0; first < kRows; first += kAtOnce) {
    VecF each[kAtOnce * kColumns];
    for (VecF& total : each) total = VecF{};
    const float* from = kept + first * kColumns * kLanesF;
    for (int32_t channel = 0; channel < padded; channel += kLanesF, from += kRows * kColumns * kLanesF) {
      const VecF weight = load(weights + channel);
#pragma GCC unroll 16
      for (int i = 0; i < kAtOnce * kColumns; ++i) each[i] += load(from + i * kLanesF) * weight;
    }
    store_joined<Adding, kAtOnce, kColumns>(each, sums + first * kSide);
  }
}

// Adds to each class the kept exponentials times a number of each output.
template <int kRows, int kColumns>
void add_kept(const float* kept, int32_t padded, const float* weights, float* totals) {
  for (int32_t channel = 0; channel < padded; channel += kLanesF, kept += kRows * kColumns * kLanesF) {
    VecF total = load(totals + channel);
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      VecF across{};
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        across += load(kept + (i * kColumns + j) * kLanesF) * splat(weights[i * kSide + j]);
      }
      total += across;
    }
    store(totals + channel, total);
  }
}

// What each output hands back per exponential: alike for all classes, and times a number of the class.
struct Returned {
  alignas(KSEG_VECTOR_BYTES) float alike[kOutputs];
  alignas(KSEG_VECTOR_BYTES) float per_class[kOutputs];
  const float* class_factors;
};

// The four source pixels' gradients; those of an edge may be the same memory.
struct CornerGradients {
  float* upper_left;
  float* upper_right;
  float* lower_left;
  float* lower_right;
};

KSEG_INLINE void add_to(float* to, VecF value) { store(to, load(to) + value); }

// Sums over outputs of returned * exponential * bilinear weight, added to the four source pixels.
template <int kRows, int kColumns, bool kPerClass>
void scatter_kept(const float* kept, int32_t padded, const ResizeRun& row, const ResizeRun& column,
                  const Returned& returned, const CornerGradients& to) {
  alignas(KSEG_VECTOR_BYTES) float across[kOutputs];  // alike * x
  for (int i = 0; i < kOutputs; ++i) across[i] = returned.alike[i] * column.lerps[i % kSide];
  for (int32_t channel = 0; channel < padded; channel += kLanesF, kept += kRows * kColumns * kLanesF) {
    VecF whole{}, x{}, y{}, xy{};
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
      VecF row_whole{}, row_x{};
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        const VecF power = load(kept + (i * kColumns + j) * kLanesF);
        const int output = i * kSide + j;
        if constexpr (kPerClass) {
          const VecF factor = load(returned.class_factors + channel);
          const VecF given = power * (splat(returned.alike[output]) + factor * splat(returned.per_class[output]));
          row_whole += given;
          row_x += given * splat(column.lerps[j]);
        } else {
          row_whole += power * splat(returned.alike[output]);
          row_x += power * splat(across[output]);
        }
      }
      const VecF place = splat(row.lerps[i]);
      whole += row_whole;
      x += row_x;
      y += row_whole * place;
      xy += row_x * place;
    }
    const VecF lower_left = y - xy;
    add_to(to.upper_left + channel, whole - x - lower_left);
    add_to(to.upper_right + channel, x - xy);
    add_to(to.lower_left + channel, lower_left);
    add_to(to.lower_right + channel, xy);
  }
}

// The same for the exponentials of progressions, which are followed once more, and numbers alike for all classes. Along
// evenly spaced outputs, sums of sums take the place of products with the bilinear weights.
KSEG_INLINE void scatter_progressions(const float* progressions, int32_t padded, const ResizeRun& row,
                                      const ResizeRun& column, const float* alike, const CornerGradients& to) {
  const TileSteps steps(row, column);
  const VecF last_x = splat(column.first + 3.0f * column.step), last_y = splat(row.first + 3.0f * row.step);
  for (int32_t channel = 0; channel < padded; channel += kLanesF) {
    const float* const from = progressions + 4 * channel;
    Progression at{load(from), load(from + kLanesF), load(from + 2 * kLanesF), load(from + 3 * kLanesF)};
    VecF whole{}, lag_x{}, lag_y{}, lag_xy{};
#pragma GCC unroll 4
    for (int i = 0; i < kSide; ++i) {
      VecF value = at.start;
      VecF sum = value * splat(alike[i * kSide]);
      VecF lag = sum;
#pragma GCC unroll 4
      for (int j = 1; j < kSide; ++j) {
        value *= at.ratio;
        sum += value * splat(alike[i * kSide + j]);
        if (j + 1 < kSide) lag += sum;
      }
      whole += sum;
      lag_x += lag;
      if (i + 1 == kSide) break;
      lag_y += whole;
      lag_xy += lag_x;
      at.start *= at.down;
      at.ratio *= at.ratio_ratio;
    }
    const VecF x = last_x * whole - steps.right * lag_x;
    const VecF lower = last_y * whole - steps.down * lag_y;
    const VecF lower_right = last_y * x - steps.down * (last_x * lag_y - steps.right * lag_xy);
    const VecF lower_left = lower - lower_right;
    add_to(to.upper_left + channel, whole - x - lower_left);
    add_to(to.upper_right + channel, x - lower_right);
    add_to(to.lower_left + channel, lower_left);
    add_to(to.lower_right + channel, lower_right);
  }
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_TILE_H_
