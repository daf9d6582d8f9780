// A call's blocks of source rows, and the worker that goes through them. Opens the target as base/kernel.h does, so it
// is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_BLOCK_WORKER_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_BLOCK_WORKER_H_

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "ops/resize_softmax_cross_entropy/resize_runs.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"
#include "ops/resize_softmax_cross_entropy/scratch_size.h"

#include "base/argmax.h"
#include "ops/resize_softmax_cross_entropy/pixel_rows.h"
#include "ops/resize_softmax_cross_entropy/softmax_math.h"
#include "ops/resize_softmax_cross_entropy/softmax_tile.h"
#include "ops/resize_softmax_cross_entropy/source_rows.h"
#include "ops/resize_softmax_cross_entropy/sweep.h"

KSEG_KERNEL_BEGIN

struct FreeAligned {
  void operator()(float* memory) const { ::operator delete(memory, std::align_val_t(64)); }
};
using AlignedFloats = std::unique_ptr<float, FreeAligned>;

AlignedFloats aligned_floats(int64_t count) {
  return AlignedFloats(static_cast<float*>(
      ::operator new(sizeof(float) * static_cast<size_t>(std::max<int64_t>(count, 1)), std::align_val_t(64))));
}

using CleanLabels = bool (*)(const void*, int64_t, int64_t, const LabelRule&, int32_t*);
CleanLabels choose_clean(ResizeLabels::Type type) {
  switch (type) {
    case ResizeLabels::Type::kUint8:
      return &clean_labels<uint8_t>;
    case ResizeLabels::Type::kInt8:
      return &clean_labels<int8_t>;
    case ResizeLabels::Type::kUint16:
      return &clean_labels<uint16_t>;
    case ResizeLabels::Type::kInt64:
      return &clean_labels<int64_t>;
    case ResizeLabels::Type::kInt32:
      break;
  }
  return &clean_labels<int32_t>;
}

int64_t label_size(ResizeLabels::Type type) {
  switch (type) {
    case ResizeLabels::Type::kUint8:
    case ResizeLabels::Type::kInt8:
      return 1;
    case ResizeLabels::Type::kUint16:
      return 2;
    case ResizeLabels::Type::kInt64:
      return 8;
    case ResizeLabels::Type::kInt32:
      break;
  }
  return 4;
}

// Everything about a call that its blocks share; both directions.
template <class T>
struct Call {
  const T* logits;
  ResizeLabels labels;
  ResizeSoftmaxOptions options;
  View<const float, 3> pixel_weights;
  int64_t batch, height, width, out_height, out_width;
  int32_t channels, classes;
  std::vector<ResizeRun> rows, columns;
  std::vector<float> column_places;
  int64_t rows_per_block, blocks_per_image;
  std::vector<int64_t> block_runs;  // first run of each block, and the end
  SweepPlan plan;
  ScratchSize scratch;
  CleanLabels clean;
  int64_t label_bytes;
  PreparePixels<T> prepare;
  LabelRule rule;
  std::atomic<int64_t> strange_row{std::numeric_limits<int64_t>::max()};  // lowest row of outputs with a bad label

  // Results and what only one direction has.
  float* loss = nullptr;
  double* totals = nullptr;              // [blocks][kDiceSums][classes]
  const float* loss_gradient = nullptr;
  const float* sums_gradient = nullptr;  // [batch][kDiceSums][classes]
  T* logits_gradient = nullptr;
  float* first_rows = nullptr;  // [blocks][width * channels]: of each block, as far as T is not float
  float* carried_rows = nullptr;  // [blocks][width * channels]: the first row of the next one

  void lay_out(bool gradient, bool dice, bool with_loss) {
    rows = resize_runs(height, out_height, options.align_corners);
    columns = resize_runs(width, out_width, options.align_corners);
    column_places.resize(columns.size() * kOutputs);
    for (size_t i = 0; i < column_places.size(); ++i) column_places[i] = columns[i / kOutputs].lerps[i % kSide];
    rows_per_block = block_rows(height);
    blocks_per_image = (height + rows_per_block - 1) / rows_per_block;
    size_t run = 0;
    for (int64_t block = 0; block < blocks_per_image; ++block) {
      while (run < rows.size() && rows[run].lower < block * rows_per_block) ++run;
      block_runs.push_back(static_cast<int64_t>(run));
    }
    block_runs.push_back(static_cast<int64_t>(rows.size()));
    plan.columns = columns.data();
    plan.column_count = static_cast<int64_t>(columns.size());
    plan.column_places = column_places.data();
    plan.width = width;
    plan.out_width = out_width;
    plan.channels = channels;
    plan.classes = classes;
    plan.padded = (classes + kLanesF - 1) / kLanesF * kLanesF;
    plan.smoothing = options.label_smoothing;
    plan.class_weights = options.class_weight_count > 0 ? options.class_weights : nullptr;
    scratch.width = width;
    scratch.padded = plan.padded;
    scratch.columns = plan.column_count;
    scratch.out_width = out_width;
    scratch.gradient = gradient;
    scratch.dice = dice;
    scratch.loss = with_loss;
    clean = choose_clean(labels.type);
    label_bytes = label_size(labels.type);
    prepare = choose_prepare<T>(plan.padded);
    rule = {classes, options.has_ignore_index, options.ignore_index};
  }
};

// Works on one block of source rows after another, with memory of its own.
template <class T, bool kGradient, bool kDice, bool kLoss>
class Worker {
 public:
  explicit Worker(Call<T>& call)
      : call_(call),
        memory_(aligned_floats(call.scratch.floats())),
        line_runs_(call.columns.data(), call.plan.column_count) {
    const ScratchSize& size = call.scratch;
    next_ = memory_.get();
    for (SourceRow& row : source_) row = {take(size.row()), take(size.pixels()), take(size.pixels())};
    if (kGradient) {
      for (int slot = 0; slot < 2; ++slot) {
        gradient_[slot] = take(size.row());
        spread_[slot] = take(size.pixels());
      }
    }
    progressions_ = take(size.batch() * 4 * size.padded);
    kept_ = take(size.kept_batch() * size.kept());
    tiles_.labels = reinterpret_cast<int32_t*>(take(size.tiles()));
    if (kLoss) {
      tiles_.loss = take(size.tiles());
      tiles_.gap = take(size.tiles());
    }
    if (kGradient) {
      tiles_.upstream = take(size.tiles());
      tiles_.own = take(size.tiles());
    }
    tiles_.common = reinterpret_cast<int32_t*>(take(size.rounded(size.columns)));
    if (kDice) tiles_.weights = take(size.tiles());
    label_line_ = reinterpret_cast<int32_t*>(take(size.line()));
    line_ = take(size.line());
    if (kDice) {
      dice_ = {take(size.rounded(size.padded)), take(size.rounded(size.padded)), take(size.rounded(size.padded)), true};
    }
  }

  void run_block(int64_t block) {
    image_ = block / call_.blocks_per_image;
    block_ = block;
    const int64_t in_image = block % call_.blocks_per_image;
    const int64_t begin = in_image * call_.rows_per_block;
    const int64_t end = std::min(begin + call_.rows_per_block, call_.height);
    Sweep<kGradient, kDice, kLoss> sweep(call_.plan, progressions_, kept_, call_.scratch);
    held_[0] = held_[1] = -1;
    top_ = begin;
    if (kGradient) {
      clear_gradient(0);
      clear_gradient(1);
      if (kDice) load_factors();
    }
    for (int64_t run = call_.block_runs[in_image]; run < call_.block_runs[in_image + 1]; ++run) {
      const ResizeRun& row = call_.rows[run];
      if (kGradient) {
        while (top_ < row.lower) put_row(begin);
      }
      if (!stage(row)) {
        if (kLoss) write_loss(row);  // all void
        continue;
      }
      const int upper = hold(row.lower, row.upper);
      const int lower = row.upper == row.lower ? upper : 1 - upper;
      if (!kGradient && kDice) clear_dice();
      const int below = row.upper == row.lower ? 0 : 1;
      sweep.tile_row(row, source_[upper], source_[lower], tiles_, dice_,
                     {gradient_[slot_], gradient_[slot_ ^ below], spread_[slot_], spread_[slot_ ^ below]}, ahead(run));
      if (kLoss) write_loss(row);
      if (kLoss && kDice) add_dice();
    }
    if (kGradient) {
      while (top_ < end) put_row(begin);
      if (end < call_.height) {
        finish(end, call_.carried_rows + block * call_.width * call_.channels);
      }
    }
  }

 private:
  float* take(int64_t floats) {
    float* const piece = next_;
    next_ += floats;
    return piece;
  }

  // The slot of row `upper`; `lower` is in the other one, or the same.
  int hold(int64_t upper, int64_t lower) {
    int slot = held_[0] == upper ? 0 : held_[1] == upper ? 1 : held_[0] == lower ? 1 : 0;
    prepare(slot, upper);
    if (lower != upper) prepare(1 - slot, lower);
    return slot;
  }
  void prepare(int slot, int64_t row) {
    if (held_[slot] == row) return;
    held_[slot] = row;
    const int64_t start = (image_ * call_.height + row) * call_.width * call_.channels;
    const int64_t all = call_.batch * call_.height * call_.width * call_.channels;
    call_.prepare(call_.logits + start, all - start, call_.width, call_.channels, call_.plan.padded,
                  call_.plan.smoothing != 0.0f, &source_[slot]);
  }

  // Brings the labels and numbers of up to four rows of outputs into tiles. False if all pixels are void.
  bool stage(const ResizeRun& run) {
    const int64_t count = call_.plan.column_count, width = call_.out_width;
    int32_t most = kVoid;
    for (int row = 0; row < kSide; ++row) {
      if (row >= run.count) {
        fill_tiles(count, row, kVoid, tiles_.labels);
        if (kGradient) fill_tiles(count, row, 0.0f, tiles_.upstream);
        if (kDice) fill_tiles(count, row, 0.0f, tiles_.weights);
        continue;
      }
      const int64_t y = run.begin + row;
      const int64_t first = (image_ * call_.out_height + y) * width;
      if (call_.clean(call_.labels.data, first, width, call_.rule, label_line_)) report(image_ * call_.out_height + y);
      for (int64_t x = 0; x < width; ++x) most = std::max(most, label_line_[x]);
      to_tiles(label_line_, line_runs_, row, kVoid, tiles_.labels);
      if (kGradient) {
        const float* const given = kLoss ? nullptr : call_.loss_gradient + first;  // 1 with the loss
        const float* const weights = call_.plan.class_weights;
        if (kLoss) {
          for (int64_t x = 0; x < width; ++x) line_[x] = label_line_[x] < 0 ? 0.0f : 1.0f;
        } else {
          for (int64_t x = 0; x < width; ++x) line_[x] = label_line_[x] < 0 ? 0.0f : given[x];
        }
        if (weights != nullptr) {
          for (int64_t x = 0; x < width; ++x) line_[x] *= label_line_[x] < 0 ? 0.0f : weights[label_line_[x]];
        }
        to_tiles(line_, line_runs_, row, 0.0f, tiles_.upstream);
      }
      if (kDice) {
        const View<const float, 3>& weights = call_.pixel_weights;
        const int64_t plane = weights.shape[0] == 1 ? 0 : image_;
        const int64_t at = (plane * weights.shape[1] + (weights.shape[1] == 1 ? 0 : y)) * weights.shape[2];
        const int64_t stride = weights.shape[2] == 1 ? 0 : 1;
        for (int64_t x = 0; x < width; ++x) line_[x] = label_line_[x] < 0 ? 0.0f : weights.data[at + x * stride];
        to_tiles(line_, line_runs_, row, 0.0f, tiles_.weights);
      }
    }
    if (most == kVoid && kLoss) std::memset(tiles_.loss, 0, sizeof(float) * count * kOutputs);
    return most != kVoid;
  }

  // What the run after this one will want first.
  Ahead ahead(int64_t run) const {
    Ahead result;
    if (run + 1 == static_cast<int64_t>(call_.rows.size())) return result;
    const ResizeRun& next = call_.rows[run + 1];
    const int64_t row_size = call_.width * call_.channels;
    if (held_[0] != next.upper && held_[1] != next.upper) {
      result.add(call_.logits + (image_ * call_.height + next.upper) * row_size, row_size * sizeof(T));
    }
    const int64_t first = (image_ * call_.out_height + next.begin) * call_.out_width;
    const int64_t pixels = next.count * call_.out_width;
    result.add(static_cast<const char*>(call_.labels.data) + first * call_.label_bytes, pixels * call_.label_bytes);
    if (kLoss) result.add(call_.loss + first, pixels * sizeof(float));
    if (kGradient) {
      if (!kLoss) result.add(call_.loss_gradient + first, pixels * sizeof(float));
      if (next.lower > top_) {
        result.add(call_.logits_gradient + (image_ * call_.height + top_) * row_size, row_size * sizeof(T));
      }
    }
    result.share_out(call_.plan.column_count);
    return result;
  }

  void report(int64_t row) {
    int64_t before = call_.strange_row.load(std::memory_order_relaxed);
    while (row < before && !call_.strange_row.compare_exchange_weak(before, row, std::memory_order_relaxed)) {
    }
  }

  void write_loss(const ResizeRun& run) {
    if (const float* const weights = call_.plan.class_weights) {
      for (int64_t i = 0; i < call_.plan.column_count * kOutputs; ++i) {
        if (tiles_.labels[i] >= 0) tiles_.loss[i] *= weights[tiles_.labels[i]];
      }
    }
    for (int row = 0; row < run.count; ++row) {
      from_tiles(tiles_.loss, line_runs_, row,
                 call_.loss + (image_ * call_.out_height + run.begin + row) * call_.out_width);
    }
  }

  void clear_dice() {
    for (float* sums : {dice_.overlap, dice_.predicted, dice_.labelled}) {
      std::memset(sums, 0, sizeof(float) * call_.plan.padded);
    }
  }
  // From float, over a row of tiles, to double.
  void add_dice() {
    double* to = call_.totals + block_ * kDiceSums * call_.classes;
    for (const float* sums : {dice_.overlap, dice_.predicted, dice_.labelled}) {
      for (int32_t c = 0; c < call_.classes; ++c) to[c] += static_cast<double>(sums[c]);
      to += call_.classes;
    }
  }
  void load_factors() {
    const float* const from = call_.sums_gradient + image_ * kDiceSums * call_.classes;
    clear_dice();
    dice_.moderate = true;
    for (int32_t c = 0; c < call_.classes; ++c) {
      dice_.overlap[c] = from[c];
      dice_.predicted[c] = from[call_.classes + c];
      dice_.moderate = dice_.moderate && std::abs(from[c]) < kMostFactor && std::abs(dice_.predicted[c]) < kMostFactor;
    }
  }

  void clear_gradient(int slot) {
    std::memset(gradient_[slot], 0, sizeof(float) * call_.width * call_.plan.padded);
    std::memset(spread_[slot], 0, sizeof(float) * call_.width);
  }
  // Writes the row `top_`, which is complete but for what the block above carries to its own first row.
  void put_row(int64_t begin) {
    const int64_t row_size = call_.width * call_.channels;
    if (std::is_same_v<T, float> || top_ != begin || begin == 0) {
      finish(top_, call_.logits_gradient + (image_ * call_.height + top_) * row_size);
    } else {
      finish(top_, call_.first_rows + block_ * row_size);
    }
    clear_gradient(slot_);
    slot_ ^= 1;
    ++top_;
  }
  template <class To>
  void finish(int64_t row, To* to) {
    const float smoothing = call_.plan.smoothing;
    const T* const logits = call_.logits + (image_ * call_.height + row) * call_.width * call_.channels;
    finish_row(gradient_[slot_], smoothing == 0.0f ? nullptr : spread_[slot_],
               smoothing / static_cast<float>(call_.classes), call_.width, call_.channels, call_.plan.padded, logits,
               to);
  }

  Call<T>& call_;
  AlignedFloats memory_;
  const RunRow line_runs_;
  float* next_ = nullptr;
  int64_t image_ = 0, block_ = 0;
  SourceRow source_[2];
  int64_t held_[2] = {-1, -1};
  float* gradient_[2] = {nullptr, nullptr};  // of row top_ in slot_, of the next one in the other
  float* spread_[2] = {nullptr, nullptr};
  int slot_ = 0;
  int64_t top_ = 0;
  float* progressions_ = nullptr;
  float* kept_ = nullptr;
  TileRow tiles_ = {};
  int32_t* label_line_ = nullptr;
  float* line_ = nullptr;
  DiceSums dice_ = {};
};

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_BLOCK_WORKER_H_
