// One sweep over a block of source rows: the loss of every output between them, or the gradient that the outputs hand
// back. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SWEEP_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SWEEP_H_

#include "ops/resize_softmax_cross_entropy/resize_runs.h"
#include "ops/resize_softmax_cross_entropy/scratch_size.h"

#include "base/argmax.h"
#include "ops/resize_softmax_cross_entropy/ahead.h"
#include "ops/resize_softmax_cross_entropy/label_logits.h"
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

// What a tile row works on, in tiles of kOutputs numbers.
struct TileRow {
  int32_t* labels;
  int32_t* common;  // [column_count], results: see common_label()
  float* upstream;  // gradient only: of the loss, times the class weight; 0 at void pixels
  float* weights;   // dice only: of the pixels, 0 at void ones
  float* loss;      // with loss only: a result
  float* gap;       // with loss only: what to add to the logarithm of the sum over classes
  float* own;       // gradient only: what is handed back to each output's own class alone
};

// Sums of one row of tiles for Dice.
struct DiceSums {
  float* overlap;  // [padded]
  float* predicted;  // [padded]
  float* labelled;  // [padded]
  bool moderate;  // gradient only: whether all factors are below kMostFactor
};

struct Gradients {
  float* upper;  // [width][padded]
  float* lower;
  float* upper_spread;  // [width]: what is taken from all classes alike, for label smoothing
  float* lower_spread;
};

// Every stage of a tile ends in numbers that the next one waits for; side by side, the tiles of a batch hide that from
// each other.
struct Tile {
  Corners corners;
  const ResizeRun* column;
  int64_t number;
  int32_t common;
  int side;  // at most so many outputs per axis: 1, 2 or 4
  bool narrow;  // 4 x 4 outputs by progressions
  float* progressions;
  float* kept;  // exponentials, if not by progressions
  TileSums sums;
  Returned returned;
};

template <bool kGradient, bool kDice, bool kLoss>
class Sweep {
 public:
  static constexpr bool kKeep = kGradient || kDice;

  Sweep(const SweepPlan& plan, float* progressions, float* kept, const ScratchSize& size)
      : plan_(plan), kept_(kept), batch_(size.batch()), kept_batch_(size.kept_batch()) {
    for (int i = 0; i < batch_; ++i) {
      tiles_[i].progressions = progressions + int64_t{4} * i * plan.padded;
      tiles_[i].kept = kept;
    }
  }

  // dice: forward, where its sums go; gradient, the factors that the sums hand back.
  void tile_row(const ResizeRun& row, const SourceRow& upper, const SourceRow& lower, const TileRow& tiles,
                const DiceSums& dice, const Gradients& gradients, Ahead ahead) {
    for (int i = 0; i < kOutputs; ++i) places_[i] = row.lerps[i / kSide];
    row_ = &row;
    const int32_t padded = plan_.padded;
    int waiting = 0, kept = 0;
    for (int64_t number = 0; number < plan_.column_count; ++number) {
      ahead.step();
      const int64_t first = number * kOutputs;
      const int32_t common = common_label(tiles.labels + first);
      tiles.common[number] = common;
      if (common == kVoid) {
        if (kLoss) clear_loss(tiles, first);
        continue;
      }
      const ResizeRun& column = plan_.columns[number];
      Tile& tile = tiles_[waiting];
      tile.corners = {upper.values + column.lower * padded, upper.values + column.upper * padded,
                      lower.values + column.lower * padded, lower.values + column.upper * padded};
      tile.column = &column;
      tile.number = number;
      tile.common = common;
      tile.side = row.count > 2 || column.count > 2 ? 4 : row.count > 1 || column.count > 1 ? 2 : 1;
      const float least = tile.side < 4 ? kLeastProgression : kLeastProgression / (row.reach * column.reach);
      // False for NaN, too.
      bool narrow = upper.lowest[column.lower] >= least && upper.lowest[column.upper] >= least &&
                    lower.lowest[column.lower] >= least && lower.lowest[column.upper] >= least;
      if (kGradient) narrow = narrow && is_moderate(tiles.upstream + first, kMostUpstream);
      if (kGradient && kDice) narrow = narrow && dice.moderate && is_moderate(tiles.weights + first, kMostFactor);
      tile.narrow = narrow && tile.side == 4;
      if (kKeep && (kDice || !tile.narrow)) tile.kept = kept_ + int64_t{kept++} * padded * kOutputs;
      sum_up(tile, narrow);
      if (++waiting < batch_ && (!kKeep || kept < kept_batch_)) continue;
      finish(waiting, upper, lower, tiles, dice, gradients);
      waiting = kept = 0;
    }
    finish(waiting, upper, lower, tiles, dice, gradients);
    if constexpr (kGradient) {
      hand_to_mixed_labels(tiles, gradients);
    }
    if (kLoss) complete_loss(tiles);
  }

 private:
  static void clear_loss(const TileRow& tiles, int64_t first) {
    for (int i = 0; i < kOutputs; i += kLanesF) {
      store(tiles.loss + first + i, splat(1.0f));
      store(tiles.gap + first + i, VecF{});
    }
  }

  static bool is_moderate(const float* values, float limit) {
    VecI large{};
    const VecF most = splat(limit);
    for (int i = 0; i < kOutputs; i += kLanesF) {
      const VecF value = load(values + i);
      large |= (value > most) | (value < -most);
    }
    return !any_lane(large);
  }

  void sum_up(Tile& tile, bool narrow) {
    const int32_t padded = plan_.padded;
    if (tile.side == 1) {
      direct_sums<1, 1, kKeep>(tile.corners, padded, *row_, *tile.column, !narrow, tile.kept, &tile.sums);
    } else if (tile.side == 2) {
      direct_sums<2, 2, kKeep>(tile.corners, padded, *row_, *tile.column, !narrow, tile.kept, &tile.sums);
    } else if (narrow) {
      progression_sums<kDice>(tile.corners, padded, *row_, *tile.column, tile.progressions, tile.kept, &tile.sums);
    } else {
      direct_sums<kSide, kSide, kKeep>(tile.corners, padded, *row_, *tile.column, true, tile.kept, &tile.sums);
    }
  }

  void finish(int count, const SourceRow& upper, const SourceRow& lower, const TileRow& tiles, const DiceSums& dice,
              const Gradients& gradients) {
    if constexpr (kLoss) {
      for (int i = 0; i < count; ++i) lose(tiles_[i], upper, lower, tiles);
    }
    if constexpr (kGradient) {
      for (int i = 0; i < count; ++i) weigh(tiles_[i], tiles, dice);
      for (int i = 0; i < count; ++i) hand_back(tiles_[i], tiles, gradients);
    } else if constexpr (kDice) {
      for (int i = 0; i < count; ++i) add_to_dice(tiles_[i], tiles, dice);
    }
  }

  // Leaves the sum over classes in `loss` and the rest in `gap`, for complete_loss().
  void lose(const Tile& tile, const SourceRow& upper, const SourceRow& lower, const TileRow& tiles) {
    const int64_t first = tile.number * kOutputs;
    const float* const x = plan_.column_places + first;
    const TileVectors own = label_logits(tile.corners, tiles.labels + first, tile.common, x, places_);
    const ResizeRun& column = *tile.column;
    const float smoothing = plan_.smoothing;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int i = chunk * kLanesF;
      VecF target = own.chunk[chunk];
      if (smoothing != 0.0f) {
        const VecF mean = bilinear(splat(upper.means[column.lower]), splat(upper.means[column.upper]),
                                   splat(lower.means[column.lower]), splat(lower.means[column.upper]), load(x + i),
                                   load(places_ + i));
        target = splat(1.0f - smoothing) * target + splat(smoothing) * mean;
      }
      store(tiles.loss + first + i, load(tile.sums.sum + i));
      store(tiles.gap + first + i, load(tile.sums.shift + i) - target);
    }
  }

  // In a pass of its own: logarithms take long, but do not wait for each other.
  void complete_loss(const TileRow& tiles) const {
    for (int64_t i = 0; i < plan_.column_count * kOutputs; i += kLanesF) {
      const VecF loss = (log2_of(load(tiles.loss + i)) + load(tiles.gap + i)) * splat(kLn2);
      // Rounding must not make it negative. (In this order a NaN stays.)
      store(tiles.loss + i, choose(load(tiles.labels + i) >= 0, larger(VecF{}, loss), VecF{}));
    }
  }

  // Probabilities of each output's own class: by the logits, because the kept exponentials may have reached 0.
  TileVectors label_probabilities(const Tile& tile, const int32_t* labels, const float* x) const {
    const TileVectors logits = label_logits(tile.corners, labels, tile.common, x, places_);
    TileVectors result;
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int i = chunk * kLanesF;
      result.chunk[chunk] = exp2_of(logits.chunk[chunk] - load(tile.sums.shift + i) - log2_of(load(tile.sums.sum + i)));
    }
    return result;
  }

  void add_to_dice(const Tile& tile, const TileRow& tiles, const DiceSums& dice) {
    const int64_t first = tile.number * kOutputs;
    const int32_t* const labels = tiles.labels + first;
    const TileVectors probability = label_probabilities(tile, labels, plan_.column_places + first);
    alignas(KSEG_VECTOR_BYTES) float scaled[kOutputs], overlap[kOutputs];
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      const int i = chunk * kLanesF;
      const VecF weight = load(tiles.weights + first + i);
      store(scaled + i, weight / load(tile.sums.sum + i));
      store(overlap + i, weight * probability.chunk[chunk]);
    }
    if (tile.side == 1) {
      add_kept<1, 1>(tile.kept, plan_.padded, scaled, dice.predicted);
    } else if (tile.side == 2) {
      add_kept<2, 2>(tile.kept, plan_.padded, scaled, dice.predicted);
    } else {
      add_kept<kSide, kSide>(tile.kept, plan_.padded, scaled, dice.predicted);
    }
    for (int i = 0; i < kOutputs; ++i) {
      if (labels[i] < 0) continue;
      dice.overlap[labels[i]] += overlap[i];
      dice.labelled[labels[i]] += tiles.weights[first + i];
    }
  }

  // What each output hands back.
  void weigh(Tile& tile, const TileRow& tiles, const DiceSums& dice) {
    const int64_t first = tile.number * kOutputs;
    const int32_t* const labels = tiles.labels + first;
    const VecF sharp = splat(1.0f - plan_.smoothing);
    Returned& returned = tile.returned;
    if constexpr (kDice) {
      alignas(KSEG_VECTOR_BYTES) float weighed[kOutputs] = {};
      alignas(KSEG_VECTOR_BYTES) float overlap_factor[kOutputs];
      if (tile.side == 1) {
        weigh_kept<1, 1>(tile.kept, plan_.padded, dice.predicted, weighed);
      } else if (tile.side == 2) {
        weigh_kept<2, 2>(tile.kept, plan_.padded, dice.predicted, weighed);
      } else {
        weigh_kept<kSide, kSide>(tile.kept, plan_.padded, dice.predicted, weighed);
      }
      for (int i = 0; i < kOutputs; ++i) overlap_factor[i] = labels[i] < 0 ? 0.0f : dice.overlap[labels[i]];
      const TileVectors probability = label_probabilities(tile, labels, plan_.column_places + first);
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        const int i = chunk * kLanesF;
        const VecF inverse = splat(1.0f) / load(tile.sums.sum + i);
        const VecF given = load(tiles.upstream + first + i);
        const VecF weight = load(tiles.weights + first + i);
        const VecF own = probability.chunk[chunk] * load(overlap_factor + i);
        const VecI counted = load(labels + i) >= 0;
        store(returned.alike + i,
              choose(counted, (given - weight * (load(weighed + i) * inverse + own)) * inverse, VecF{}));
        store(returned.per_class + i, choose(counted, weight * inverse, VecF{}));
        store(tiles.own + first + i, choose(counted, weight * own - sharp * given, VecF{}));
      }
      returned.class_factors = dice.predicted;
    } else {
      for (int i = 0; i < kOutputs; i += kLanesF) {
        const VecF given = load(tiles.upstream + first + i);
        store(returned.alike + i, given / load(tile.sums.sum + i));
        store(tiles.own + first + i, -(sharp * given));
      }
    }
  }

  CornerGradients corners_of(const ResizeRun& column, const Gradients& gradients) const {
    const int32_t padded = plan_.padded;
    return {gradients.upper + column.lower * padded, gradients.upper + column.upper * padded,
            gradients.lower + column.lower * padded, gradients.lower + column.upper * padded};
  }

  void hand_back(const Tile& tile, const TileRow& tiles, const Gradients& gradients) {
    const ResizeRun& column = *tile.column;
    const CornerGradients to = corners_of(column, gradients);
    if (!kDice && tile.narrow) {
      scatter_progressions(tile.progressions, plan_.padded, *row_, column, tile.returned.alike, to);
    } else if (tile.side == 1) {
      scatter_kept<1, 1, kDice>(tile.kept, plan_.padded, *row_, column, tile.returned, to);
    } else if (tile.side == 2) {
      scatter_kept<2, 2, kDice>(tile.kept, plan_.padded, *row_, column, tile.returned, to);
    } else {
      scatter_kept<kSide, kSide, kDice>(tile.kept, plan_.padded, *row_, column, tile.returned, to);
    }
    hand_to_labels(tile, tiles, gradients);
  }

  void hand_to_labels(const Tile& tile, const TileRow& tiles, const Gradients& gradients) {
    const ResizeRun& column = *tile.column;
    const CornerGradients to = corners_of(column, gradients);
    const int64_t first = tile.number * kOutputs;
    const float* const x = plan_.column_places + first;
    if (tile.common >= 0) {
      const FourSums sums = corner_sums(tiles.own + first, x, places_);
      add_to_class(to.upper_left, tile.common, sums.upper_left);
      add_to_class(to.upper_right, tile.common, sums.upper_right);
      add_to_class(to.lower_left, tile.common, sums.lower_left);
      add_to_class(to.lower_right, tile.common, sums.lower_right);
    }
    if (plan_.smoothing != 0.0f) {
      const FourSums sums = corner_sums(tiles.upstream + first, x, places_);
      gradients.upper_spread[column.lower] += sums.upper_left;
      gradients.upper_spread[column.upper] += sums.upper_right;
      gradients.lower_spread[column.lower] += sums.lower_left;
      gradients.lower_spread[column.upper] += sums.lower_right;
    }
  }

  // A whole vector is read and written: the next tile reads it in that size, and would wait for a smaller write.
  static void add_to_class(float* classes, int32_t which, float value) {
    alignas(KSEG_VECTOR_BYTES) static constexpr auto kNumbers = lane_numbers();
    float* const to = classes + which / kLanesF * kLanesF;
    const VecI here = load(kNumbers.lane) == splat(which % kLanesF);
    store(to, load(to) + choose(here, splat(value), VecF{}));
  }

  // In a pass of its own, for the same reason.
  void hand_to_mixed_labels(const TileRow& tiles, const Gradients& gradients) {
    for (int64_t number = 0; number < plan_.column_count; ++number) {
      if (tiles.common[number] != kMixed) continue;
      const CornerGradients to = corners_of(plan_.columns[number], gradients);
      const int32_t* const labels = tiles.labels + number * kOutputs;
      const float* const own = tiles.own + number * kOutputs;
      const float* const x = plan_.column_places + number * kOutputs;
      for (int i = 0; i < kOutputs; ++i) {
        if (labels[i] < 0) continue;
        const float below = own[i] * places_[i], above = own[i] - below;
        const float lower_right = below * x[i], upper_right = above * x[i];
        to.upper_left[labels[i]] += above - upper_right;
        to.upper_right[labels[i]] += upper_right;
        to.lower_left[labels[i]] += below - lower_right;
        to.lower_right[labels[i]] += lower_right;
      }
    }
  }

  struct FourSums {
    float upper_left, upper_right, lower_left, lower_right;
  };
  static FourSums corner_sums(const float* values, const float* x, const float* y) {
    VecF sums[4] = {};  // whole, times x, times y, times both
    for (int i = 0; i < kOutputs; i += kLanesF) {
      const VecF value = load(values + i), to_right = value * load(x + i);
      sums[0] += value;
      sums[1] += to_right;
      sums[2] += value * load(y + i);
      sums[3] += to_right * load(y + i);
    }
    float joined[4];
    join_four(sums, joined);
    return {joined[0] - joined[1] - (joined[2] - joined[3]), joined[1] - joined[3], joined[2] - joined[3], joined[3]};
  }

  const SweepPlan& plan_;
  const ResizeRun* row_ = nullptr;
  float* const kept_;
  const int batch_, kept_batch_;
  alignas(KSEG_VECTOR_BYTES) float places_[kOutputs];  // y of each output of a tile
  Tile tiles_[kMostBatch];
};

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SWEEP_H_
