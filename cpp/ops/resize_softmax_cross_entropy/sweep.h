// One sweep over a block of source rows: the loss of every output between them, or the gradient that the outputs hand
// back. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SWEEP_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SWEEP_H_

#include "ops/resize_softmax_cross_entropy/resize_runs.h"
#include "ops/resize_softmax_cross_entropy/scratch_size.h"

#include "base/argmax.h"
#include "ops/resize_softmax_cross_entropy/pixel_rows.h"
#include "ops/resize_softmax_cross_entropy/softmax_math.h"
#include "ops/resize_softmax_cross_entropy/softmax_tile.h"
#include "ops/resize_softmax_cross_entropy/source_rows.h"

KSEG_KERNEL_BEGIN

// The least base-2 logit (the largest being 0) up to which all factors of a progression, and what is multiplied with
// them, stay inside the range of float: about 52 nats.
constexpr float kLeastProgression = -75.0f;
// Larger upstream gradients, times the inverse of a small sum, could leave it.
constexpr float kMostUpstream = 1e12f;
constexpr float kMostFactor = 1e6f;  // of the Dice sums, and of pixels in them

// Everything that all blocks share.
struct SweepPlan {
  const ResizeRun* columns;
  int64_t column_count;
  const float* column_places;  // [column_count][kOutputs]: x of each output of a tile
  int64_t width, out_width;
  int32_t channels, classes, padded;
  float smoothing;
  const float* class_weights;  // or null
};

// What a tile row works on, in tiles of kOutputs numbers: inputs for both directions, and the loss.
struct TileRow {
  int32_t* labels;
  float* upstream;  // gradient only: of the loss, times the class weight; 0 at void pixels
  float* weights;   // dice only: of the pixels, 0 at void ones
  float* loss;      // forward only
};

// Sums of one row of tiles for Dice.
struct DiceSums {
  float* overlap;    // [padded]
  float* predicted;  // [padded]
  float* labelled;   // [padded]
  bool moderate;     // gradient only: whether all factors are below kMostFactor
};

struct Gradients {
  float* upper;  // [width][padded]
  float* lower;
  float* upper_spread;  // [width]: what is taken from all classes alike, for label smoothing
  float* lower_spread;
};

// Values at the four source pixels, interpolated to all outputs of a tile.
KSEG_INLINE VecF bilinear(VecF upper_left, VecF upper_right, VecF lower_left, VecF lower_right, VecF x, VecF y) {
  const VecF left = upper_left + (lower_left - upper_left) * y;
  const VecF right = upper_right + (lower_right - upper_right) * y;
  return left + (right - left) * x;
}

struct TileVectors {
  VecF chunk[kChunks];
};

// The logits of each output's own class.
KSEG_INLINE TileVectors label_logits(const Corners& corners, const int32_t* labels, int32_t common, const float* x,
                                     const float* y) {
  TileVectors result;
  if (common >= 0) {
    const VecF upper_left = splat(corners.upper_left[common]), upper_right = splat(corners.upper_right[common]);
    const VecF lower_left = splat(corners.lower_left[common]), lower_right = splat(corners.lower_right[common]);
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      result.chunk[chunk] = bilinear(upper_left, upper_right, lower_left, lower_right, load(x + chunk * kLanesF),
                                     load(y + chunk * kLanesF));
    }
    return result;
  }
  alignas(KSEG_VECTOR_BYTES) float at[4][kOutputs];
  for (int output = 0; output < kOutputs; ++output) {
    const int32_t label = labels[output] < 0 ? 0 : labels[output];
    at[0][output] = corners.upper_left[label];
    at[1][output] = corners.upper_right[label];
    at[2][output] = corners.lower_left[label];
    at[3][output] = corners.lower_right[label];
  }
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const int first = chunk * kLanesF;
    result.chunk[chunk] = bilinear(load(at[0] + first), load(at[1] + first), load(at[2] + first), load(at[3] + first),
                                   load(x + first), load(y + first));
  }
  return result;
}

template <bool kGradient, bool kDice>
class Sweep {
 public:
  static constexpr bool kKeep = kGradient || kDice;

  Sweep(const SweepPlan& plan, float* steps, float* kept) : plan_(plan), steps_(steps), kept_(kept) {}

  // dice: forward, where its sums go; gradient, the factors that the sums hand back.
  void tile_row(const ResizeRun& row, const SourceRow& upper, const SourceRow& lower, const TileRow& tiles,
                const DiceSums& dice, const Gradients& gradients) {
    alignas(KSEG_VECTOR_BYTES) float places[kOutputs];
    for (int i = 0; i < kOutputs; ++i) places[i] = row.lerps[i / kSide];
    const int32_t padded = plan_.padded;
    for (int64_t tile = 0; tile < plan_.column_count; ++tile) {
      const int64_t first = tile * kOutputs;
      const int32_t* const labels = tiles.labels + first;
      const int32_t common = common_label(labels);
      if (common == kVoid) {
        if (!kGradient) {
          for (int i = 0; i < kOutputs; i += kLanesF) store(tiles.loss + first + i, VecF{});
        }
        continue;
      }
      const ResizeRun& column = plan_.columns[tile];
      const Corners corners{upper.values + column.lower * padded, upper.values + column.upper * padded,
                            lower.values + column.lower * padded, lower.values + column.upper * padded};
      const bool small = row.count <= 2 && column.count <= 2;
      const float least = small ? kLeastProgression : kLeastProgression / (row.reach * column.reach);
      // False for NaN, too.
      bool narrow = upper.lowest[column.lower] >= least && upper.lowest[column.upper] >= least &&
                    lower.lowest[column.lower] >= least && lower.lowest[column.upper] >= least;
      if (kGradient) narrow = narrow && is_moderate(tiles.upstream + first, kMostUpstream);
      if (kGradient && kDice) narrow = narrow && dice.moderate && is_moderate(tiles.weights + first, kMostFactor);
      const float* const x = plan_.column_places + first;
      if (small && row.count == 1 && column.count == 1) {
        direct_sums<1, 1, kKeep>(corners, padded, row, column, !narrow, kept_, &sums_);
        finish<1, 1>(row, column, upper, lower, corners, tiles, first, common, x, places, dice, gradients);
      } else if (small) {
        direct_sums<2, 2, kKeep>(corners, padded, row, column, !narrow, kept_, &sums_);
        finish<2, 2>(row, column, upper, lower, corners, tiles, first, common, x, places, dice, gradients);
      } else {
        if (narrow) {
          progression_sums<kKeep>(corners, padded, row, column, steps_, kept_, &sums_);
        } else {
          direct_sums<kSide, kSide, kKeep>(corners, padded, row, column, true, kept_, &sums_);
        }
        finish<kSide, kSide>(row, column, upper, lower, corners, tiles, first, common, x, places, dice, gradients);
      }
    }
  }

 private:
  static bool is_moderate(const float* values, float limit) {
    VecI large{};
    const VecF most = splat(limit);
    for (int i = 0; i < kOutputs; i += kLanesF) {
      const VecF value = load(values + i);
      large |= (value > most) | (value < -most);
    }
    return !any_lane(large);
  }

  template <int kRows, int kColumns>
  void finish(const ResizeRun& row, const ResizeRun& column, const SourceRow& upper, const SourceRow& lower,
              const Corners& corners, const TileRow& tiles, int64_t first, int32_t common, const float* x,
              const float* y, const DiceSums& dice, const Gradients& gradients) {
    if constexpr (kGradient) {
      hand_back<kRows, kColumns>(row, column, corners, tiles, first, common, x, y, dice, gradients);
    } else {
      lose<kRows, kColumns>(column, upper, lower, corners, tiles, first, common, x, y, dice);
    }
  }

  // Probabilities of each output's own class: by the logits, because the kept exponentials may have reached 0.
  TileVectors label_probabilities(const TileVectors& logits) const {
    TileVectors result;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int i = chunk * kLanesF;
      result.chunk[chunk] = exp2_of(logits.chunk[chunk] - load(sums_.shift + i) - log2_of(load(sums_.sum + i)));
    }
    return result;
  }

  template <int kRows, int kColumns>
  void lose(const ResizeRun& column, const SourceRow& upper, const SourceRow& lower, const Corners& corners,
            const TileRow& tiles, int64_t first, int32_t common, const float* x, const float* y, const DiceSums& dice) {
    const int32_t* const labels = tiles.labels + first;
    const TileVectors own = label_logits(corners, labels, common, x, y);
    const float smoothing = plan_.smoothing;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int i = chunk * kLanesF;
      VecF target = own.chunk[chunk];
      if (smoothing != 0.0f) {
        const VecF mean =
            bilinear(splat(upper.means[column.lower]), splat(upper.means[column.upper]),
                     splat(lower.means[column.lower]), splat(lower.means[column.upper]), load(x + i), load(y + i));
        target = splat(1.0f - smoothing) * target + splat(smoothing) * mean;
      }
      const VecF loss = (log2_of(load(sums_.sum + i)) + (load(sums_.shift + i) - target)) * splat(kLn2);
      // Rounding must not make it negative. (In this order a NaN stays.)
      store(tiles.loss + first + i, choose(load(labels + i) >= 0, larger(VecF{}, loss), VecF{}));
    }
    if constexpr (kDice) {
      const TileVectors probability = label_probabilities(own);
      alignas(KSEG_VECTOR_BYTES) float scaled[kOutputs], overlap[kOutputs];
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int i = chunk * kLanesF;
        const VecF weight = load(tiles.weights + first + i);
        store(scaled + i, weight / load(sums_.sum + i));
        store(overlap + i, weight * probability.chunk[chunk]);
      }
      add_kept<kRows, kColumns>(kept_, plan_.padded, scaled, dice.predicted);
      for (int i = 0; i < kOutputs; ++i) {
        if (labels[i] < 0) continue;
        dice.overlap[labels[i]] += overlap[i];
        dice.labelled[labels[i]] += tiles.weights[first + i];
      }
    }
  }

  template <int kRows, int kColumns>
  void hand_back(const ResizeRun& row, const ResizeRun& column, const Corners& corners, const TileRow& tiles,
                 int64_t first, int32_t common, const float* x, const float* y, const DiceSums& dice,
                 const Gradients& gradients) {
    const int32_t* const labels = tiles.labels + first;
    const int32_t padded = plan_.padded;
    const float sharp = 1.0f - plan_.smoothing;
    Returned returned;
    alignas(KSEG_VECTOR_BYTES) float own_class[kOutputs];  // what is added to each output's own class alone
    if constexpr (kDice) {
      alignas(KSEG_VECTOR_BYTES) float weighed[kOutputs] = {};
      alignas(KSEG_VECTOR_BYTES) float overlap_factor[kOutputs];
      weigh_kept<kRows, kColumns>(kept_, padded, dice.predicted, weighed);
      for (int i = 0; i < kOutputs; ++i) overlap_factor[i] = labels[i] < 0 ? 0.0f : dice.overlap[labels[i]];
      const TileVectors probability = label_probabilities(label_logits(corners, labels, common, x, y));
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int i = chunk * kLanesF;
        const VecF inverse = splat(1.0f) / load(sums_.sum + i);
        const VecF given = load(tiles.upstream + first + i);
        const VecF weight = load(tiles.weights + first + i);
        const VecF own = probability.chunk[chunk] * load(overlap_factor + i);
        const VecI counted = load(labels + i) >= 0;
        store(returned.alike + i,
              choose(counted, (given - weight * (load(weighed + i) * inverse + own)) * inverse, VecF{}));
        store(returned.per_class + i, choose(counted, weight * inverse, VecF{}));
        store(own_class + i, choose(counted, weight * own - splat(sharp) * given, VecF{}));
      }
      returned.class_factors = dice.predicted;
    } else {
      for (int i = 0; i < kOutputs; i += kLanesF) {
        const VecF given = load(tiles.upstream + first + i);
        store(returned.alike + i, given / load(sums_.sum + i));
        store(own_class + i, splat(-sharp) * given);
      }
    }
    const CornerGradients to{gradients.upper + column.lower * padded, gradients.upper + column.upper * padded,
                             gradients.lower + column.lower * padded, gradients.lower + column.upper * padded};
    scatter_kept<kRows, kColumns, kDice>(kept_, padded, row, column, returned, to);

    if (common >= 0) {
      const FourSums sums = corner_sums(own_class, x, y);
      to.upper_left[common] += sums.upper_left;
      to.upper_right[common] += sums.upper_right;
      to.lower_left[common] += sums.lower_left;
      to.lower_right[common] += sums.lower_right;
    } else {
      for (int i = 0; i < kOutputs; ++i) {
        if (labels[i] < 0) continue;
        const float below = own_class[i] * y[i], above = own_class[i] - below;
        const float lower_right = below * x[i], upper_right = above * x[i];
        to.upper_left[labels[i]] += above - upper_right;
        to.upper_right[labels[i]] += upper_right;
        to.lower_left[labels[i]] += below - lower_right;
        to.lower_right[labels[i]] += lower_right;
      }
    }
    if (plan_.smoothing != 0.0f) {
      const FourSums sums = corner_sums(tiles.upstream + first, x, y);
      gradients.upper_spread[column.lower] += sums.upper_left;
      gradients.upper_spread[column.upper] += sums.upper_right;
      gradients.lower_spread[column.lower] += sums.lower_left;
      gradients.lower_spread[column.upper] += sums.lower_right;
    }
  }

  struct FourSums {
    float upper_left, upper_right, lower_left, lower_right;
  };
  static FourSums corner_sums(const float* values, const float* x, const float* y) {
    VecF whole{}, right{}, below{}, both{};
    for (int i = 0; i < kOutputs; i += kLanesF) {
      const VecF value = load(values + i), to_right = value * load(x + i);
      whole += value;
      right += to_right;
      below += value * load(y + i);
      both += to_right * load(y + i);
    }
    const float all = join_lanes<Adding>(whole), x_sum = join_lanes<Adding>(right);
    const float y_sum = join_lanes<Adding>(below), xy_sum = join_lanes<Adding>(both);
    return {all - x_sum - (y_sum - xy_sum), x_sum - xy_sum, y_sum - xy_sum, xy_sum};
  }

  const SweepPlan& plan_;
  float* const steps_;
  float* const kept_;
  TileSums sums_;
};

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SWEEP_H_
