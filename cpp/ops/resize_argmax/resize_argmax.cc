#include "ops/resize_argmax/resize_argmax.h"

#include <algorithm>
#include <memory>
#include <new>
#include <vector>

#include "ops/resize_argmax/resize_argmax_check.h"
#include "ops/resize_argmax/resize_tiles.h"

#include "base/parallel_for.h"

#include "base/kernel.h"
#include "base/argmax.h"                      // target code only
#include "ops/resize_argmax/tile_argmax.h"    // target code only
#include "ops/resize_argmax/source_pixels.h"  // target code only

KSEG_KERNEL_BEGIN

// Two prepared rows of source pixels should stay in the second-level cache.
constexpr int64_t kRowPairBytes = 256 << 10;
constexpr int64_t kLeastRowPixels = 8;
constexpr int64_t kCacheLine = 64;
// Rows of tiles that a thread takes at a time; it prepares one row of source pixels more than that.
constexpr int64_t kPieceRows = 9;
// Up to this many classes it is cheaper to evaluate all of them than to find out which could win.
constexpr int32_t kMostUnpruned = 64;

KSEG_INLINE void write_tile(const int32_t* best, int rows, int columns, int64_t row_stride, int32_t* to) {
  if (columns == kTileSide) {
    for (int row = 0; row < rows; ++row) std::memcpy(to + row * row_stride, best + row * kTileSide, sizeof(int32_t[4]));
    return;
  }
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) to[row * row_stride + column] = best[row * kTileSide + column];
  }
}

KSEG_INLINE void fill_tile(int32_t winner, int rows, int columns, int64_t row_stride, int32_t* to) {
  const int32_t four[kTileSide] = {winner, winner, winner, winner};
  if (columns == kTileSide) {
    for (int row = 0; row < rows; ++row) std::memcpy(to + row * row_stride, four, sizeof four);
    return;
  }
  for (int row = 0; row < rows; ++row) {
    for (int column = 0; column < columns; ++column) to[row * row_stride + column] = winner;
  }
}

// Tiles whose classes are pruned go through three stages, a batch at a time: how high every class can get, which of
// them can win, which one does. Every stage ends in numbers that the next one waits for; side by side, the tiles of a
// batch hide that from each other.
constexpr int kBatch = 8;

struct PrunedTile {
  Corners corners;
  const ResizeTile* column;
  Places places;
  int32_t good[4];  // the winners of the source pixels
  int32_t* candidates;
  int32_t count;
  int32_t* to;
};

// Memory of one range of work: two rows of source pixels and what tiles need.
class Scratch {
 public:
  Scratch(int64_t pixels, int32_t padded, bool pruning) {
    const int64_t row = pixels * padded;
    const int64_t list = padded + 2 * kLanesF;  // as list_candidates() wants it
    const int64_t floats = 2 * (row + pixels) + (pruning ? kBatch * (padded + list) : 0);
    memory_.reset(static_cast<float*>(::operator new(sizeof(float) * floats, std::align_val_t(64))));
    values[0] = memory_.get();
    values[1] = values[0] + row;
    float* next = values[1] + row;
    for (int tile = 0; pruning && tile < kBatch; ++tile, next += padded + list) {
      highest[tile] = next;
      batch[tile].candidates = reinterpret_cast<int32_t*>(next + padded);
    }
    winners[0] = reinterpret_cast<int32_t*>(next);
    winners[1] = winners[0] + pixels;
  }

  float* values[2];
  int32_t* winners[2];
  float* highest[kBatch];
  PrunedTile batch[kBatch];

 private:
  struct Free {
    void operator()(float* memory) const { ::operator delete(memory, std::align_val_t(64)); }
  };
  std::unique_ptr<float, Free> memory_;
};

// Memory that is asked for while tiles are computed, so that the next row of source pixels does not wait for it.
struct Ahead {
  const char* next;
  const char* end;
};

// Keeps the two source rows at hand, so that each is prepared once while the work moves down.
class RowPair {
 public:
  RowPair(const Plan& plan, const Strip& strip, int64_t batch, PreparePixels prepare, Scratch& scratch)
      : plan_(plan), strip_(strip), batch_(batch), prepare_(prepare), scratch_(scratch) {}

  void move_to(int64_t upper, int64_t lower) {
    if (held_[upper_slot] != upper && held_[1 - upper_slot] == upper) upper_slot = 1 - upper_slot;
    hold(upper_slot, upper);
    lower_slot = upper_slot;
    if (lower == upper) return;
    lower_slot = 1 - upper_slot;
    hold(lower_slot, lower);
  }

  // The memory of a source row that will be wanted next, if it is not at hand.
  Ahead ahead(int64_t row) const {
    if (held_[0] == row || held_[1] == row) return {nullptr, nullptr};
    const int64_t pixel_bytes = plan_.channels * plan_.element_bytes;
    const char* const begin = static_cast<const char*>(plan_.logits) +
                              ((batch_ * plan_.height + row) * plan_.width + strip_.first_pixel) * pixel_bytes;
    return {begin, begin + (strip_.last_pixel - strip_.first_pixel) * pixel_bytes};
  }

  int upper_slot = 0;
  int lower_slot = 0;

 private:
  void hold(int slot, int64_t row) {
    if (held_[slot] == row) return;
    held_[slot] = row;
    prepare_(plan_, (batch_ * plan_.height + row) * plan_.width + strip_.first_pixel,
             strip_.last_pixel - strip_.first_pixel, scratch_.values[slot], scratch_.winners[slot]);
  }

  const Plan& plan_;
  const Strip& strip_;
  const int64_t batch_;
  const PreparePixels prepare_;
  Scratch& scratch_;
  int64_t held_[2] = {-1, -1};
};

void finish_batch(const Plan& plan, const ResizeTile& row, int tiles, Scratch& scratch) {
  const int32_t padded = plan.padded;
  for (int i = 0; i < tiles; ++i) {
    const PrunedTile& tile = scratch.batch[i];
    highest_values(tile.corners, padded, row, *tile.column, scratch.highest[i]);
  }
  for (int i = 0; i < tiles; ++i) {
    PrunedTile& tile = scratch.batch[i];
    VecF envelope[kChunks];
    for (int chunk = 0; chunk < kChunks; ++chunk) envelope[chunk] = splat(-3.0f * kLargest);
    for (int32_t winner : tile.good) {
      const Bilinear function = bilinear_of(tile.corners, winner);
      for (int chunk = 0; chunk < kChunks; ++chunk) {
        envelope[chunk] = larger(value_at(function, tile.places, chunk), envelope[chunk]);
      }
    }
    VecF lowest = envelope[0];
    for (int chunk = 1; chunk < kChunks; ++chunk) lowest = smaller(envelope[chunk], lowest);
    // The two ways of computing a value differ by rounding, which must not prune the very classes that made the bound.
    // (Any other class that it prunes ties within rounding.)
    float* const highest = scratch.highest[i];
    for (int32_t winner : tile.good) highest[winner] = 2.0f * kLargest;
    tile.count = list_candidates(highest, padded, smallest_lane(lowest), tile.candidates);
  }
  for (int i = 0; i < tiles; ++i) {
    const PrunedTile& tile = scratch.batch[i];
    alignas(KSEG_VECTOR_BYTES) int32_t best[kOutputs];
    best_of(tile.corners, Listed{tile.candidates}, tile.count, tile.places, best);
    for (int output = 0; output < kOutputs; ++output) best[output] = tile.candidates[best[output]];
    write_tile(best, row.count, tile.column->count, plan.out_width, tile.to);
  }
}

void resize_row_of_tiles(const Plan& plan, const Strip& strip, int64_t row_tile, const RowPair& rows, Scratch& scratch,
                         int32_t* image, Ahead ahead) {
  const ResizeTile& row = plan.rows[row_tile];
  const int32_t padded = plan.padded;
  const float* const upper = scratch.values[rows.upper_slot] - strip.first_pixel * padded;
  const float* const lower = scratch.values[rows.lower_slot] - strip.first_pixel * padded;
  const int32_t* const upper_winners = scratch.winners[rows.upper_slot] - strip.first_pixel;
  const int32_t* const lower_winners = scratch.winners[rows.lower_slot] - strip.first_pixel;
  alignas(KSEG_VECTOR_BYTES) int32_t best[kOutputs];
  int waiting = 0;
  const int64_t ahead_per_tile = (ahead.end - ahead.next) / (strip.last_tile - strip.first_tile);
  for (int64_t tile = strip.first_tile; tile < strip.last_tile; ++tile) {
    for (const char* stop = ahead.next + ahead_per_tile; ahead.next < stop; ahead.next += kCacheLine) {
      __builtin_prefetch(ahead.next);
    }
    const ResizeTile& column = plan.columns[tile];
    int32_t* const to = image + row.begin * plan.out_width + column.begin;
    int32_t good[4] = {};
    if (plan.need_winners) {
      good[0] = upper_winners[column.lower];
      good[1] = upper_winners[column.upper];
      good[2] = lower_winners[column.lower];
      good[3] = lower_winners[column.upper];
      if (good[0] == good[1] && good[0] == good[2] && good[0] == good[3]) {
        fill_tile(good[0], row.count, column.count, plan.out_width, to);
        continue;
      }
    }
    const Corners corners{upper + column.lower * padded, upper + column.upper * padded, lower + column.lower * padded,
                          lower + column.upper * padded};
    if (row.count <= 2 && column.count <= 2) {
      if (row.count == 1 && column.count == 1) {
        best_at_points<1, 1>(corners, padded, row.lerp, column.lerp, best);
        to[0] = best[0];
      } else {
        best_at_points<2, 2>(corners, padded, row.lerp, column.lerp, best);
        for (int i = 0; i < row.count; ++i) {
          for (int j = 0; j < column.count; ++j) to[i * plan.out_width + j] = best[2 * i + j];
        }
      }
      continue;
    }
    const Places places = places_of(plan.column_weights + tile * kOutputs, plan.row_weights + row_tile * kOutputs);
    if (plan.prune) {
      PrunedTile& pruned = scratch.batch[waiting++];
      pruned.corners = corners;
      pruned.column = &column;
      pruned.places = places;
      std::memcpy(pruned.good, good, sizeof good);
      pruned.to = to;
      if (waiting < kBatch) continue;
      finish_batch(plan, row, waiting, scratch);
      waiting = 0;
    } else {
      best_of(corners, InOrder(), plan.channels, places, best);
      write_tile(best, row.count, column.count, plan.out_width, to);
    }
  }
  finish_batch(plan, row, waiting, scratch);
}

std::vector<Strip> strips_of(const std::vector<ResizeTile>& columns, int64_t most_pixels) {
  std::vector<Strip> strips;
  for (int64_t tile = 0; tile < static_cast<int64_t>(columns.size()); ++tile) {
    if (strips.empty() || columns[tile].upper + 1 - strips.back().first_pixel > most_pixels) {
      strips.push_back({tile, tile, columns[tile].lower, 0});
    }
    strips.back().last_tile = tile + 1;
    strips.back().last_pixel = columns[tile].upper + 1;
  }
  return strips;
}

template <class T>
Status resize_argmax_kernel(const ResizeArgmaxArgs<T>& args, const ParallelFor& parallel_for) {
  Plan plan;
  plan.logits = args.logits.data;
  plan.classes = args.classes.data;
  plan.height = args.logits.shape[1];
  plan.width = args.logits.shape[2];
  plan.out_height = args.classes.shape[1];
  plan.out_width = args.classes.shape[2];
  plan.channels = static_cast<int32_t>(args.logits.shape[3]);
  plan.padded = (plan.channels + kLanesF - 1) / kLanesF * kLanesF;
  plan.elements = args.logits.size();
  plan.element_bytes = sizeof(T);
  const std::vector<ResizeTile> rows = resize_tiles(plan.height, plan.out_height, args.align_corners);
  const std::vector<ResizeTile> columns = resize_tiles(plan.width, plan.out_width, args.align_corners);
  plan.rows = rows.data();
  plan.columns = columns.data();
  // Knowing the winners of source pixels pays where several outputs share four of them, and large tiles are pruned by
  // it.
  const auto is_long = [](const ResizeTile& tile) { return tile.count > 2; };
  plan.need_winners = plan.out_height * plan.out_width > plan.height * plan.width ||
                      std::any_of(rows.begin(), rows.end(), is_long) ||
                      std::any_of(columns.begin(), columns.end(), is_long);
  std::vector<float> row_weights(rows.size() * kOutputs), column_weights(columns.size() * kOutputs);
  for (size_t i = 0; i < row_weights.size(); ++i) row_weights[i] = rows[i / kOutputs].lerp[i % kOutputs / kTileSide];
  for (size_t i = 0; i < column_weights.size(); ++i) column_weights[i] = columns[i / kOutputs].lerp[i % kTileSide];
  plan.row_weights = row_weights.data();
  plan.column_weights = column_weights.data();

  plan.prune = plan.channels > kMostUnpruned;

  const int64_t pixel_bytes = 2 * sizeof(float) * plan.padded;
  const std::vector<Strip> strips = strips_of(columns, std::max(kLeastRowPixels, kRowPairBytes / pixel_bytes));
  int64_t widest = 0;
  for (const Strip& strip : strips) widest = std::max(widest, strip.last_pixel - strip.first_pixel);

  const PreparePixels prepare = choose_prepare<T>(plan.padded);
  // One unit of work is one row of tiles in one strip of one image.
  const int64_t row_tiles = static_cast<int64_t>(rows.size());
  const int64_t strip_count = static_cast<int64_t>(strips.size());
  const int64_t total = args.logits.shape[0] * strip_count * row_tiles;
  const int64_t tiles_per_unit = static_cast<int64_t>(columns.size()) / strip_count + 1;
  run_workers(parallel_for, total, kPieceRows, tiles_per_unit * (16 + 3 * plan.channels), [&](Pieces& pieces) {
    Scratch scratch(widest, plan.padded, plan.prune);
    for (int64_t begin, end; pieces.take(&begin, &end);)
      while (begin < end) {
        const int64_t column = begin / row_tiles;
        const int64_t batch = column / strip_count;
        const Strip& strip = strips[column % strip_count];
        const int64_t first = begin % row_tiles;
        const int64_t last = std::min(row_tiles, first + end - begin);
        RowPair pair(plan, strip, batch, prepare, scratch);
        for (int64_t tile = first; tile < last; ++tile) {
          pair.move_to(rows[tile].lower, rows[tile].upper);
          const Ahead ahead = tile + 1 < last ? pair.ahead(rows[tile + 1].upper) : Ahead{nullptr, nullptr};
          resize_row_of_tiles(plan, strip, tile, pair, scratch, plan.classes + batch * plan.out_height * plan.out_width,
                              ahead);
        }
        begin += last - first;
      }
  });
  return Status();
}

template Status resize_argmax_kernel(const ResizeArgmaxArgs<float>&, const ParallelFor&);
template Status resize_argmax_kernel(const ResizeArgmaxArgs<Half>&, const ParallelFor&);
template Status resize_argmax_kernel(const ResizeArgmaxArgs<BFloat16>&, const ParallelFor&);
template Status resize_argmax_kernel(const ResizeArgmaxArgs<double>&, const ParallelFor&);

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status resize_argmax_kernel(const ResizeArgmaxArgs<T>&, const ParallelFor&))

template <class T>
Status resize_argmax(const ResizeArgmaxArgs<T>& args, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_resize_argmax(args.logits.shape, args.classes.shape));
  if (args.classes.empty()) return Status();
  if (args.logits.shape[3] == 1) {
    std::fill_n(args.classes.data, args.classes.size(), 0);
    return Status();
  }
  KSEG_RETURN_DISPATCH(resize_argmax_kernel<T>, args, parallel_for);
}

template KSEG_API Status resize_argmax(const ResizeArgmaxArgs<float>&, const ParallelFor&);
template KSEG_API Status resize_argmax(const ResizeArgmaxArgs<Half>&, const ParallelFor&);
template KSEG_API Status resize_argmax(const ResizeArgmaxArgs<BFloat16>&, const ParallelFor&);
template KSEG_API Status resize_argmax(const ResizeArgmaxArgs<double>&, const ParallelFor&);

}  // namespace kseg
#endif
