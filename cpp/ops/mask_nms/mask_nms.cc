#include "ops/mask_nms/mask_nms.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/mask_iou/cropped_mask.h"
#include "ops/mask_iou/mask_iou.h"
#include "ops/mask_iou/mask_window.h"
#include "ops/mask_nms/mask_nms_check.h"
#include "ops/mask_nms/score_decay.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "ops/mask_iou/mask_bits.h"  // target code only

KSEG_KERNEL_BEGIN
namespace {

// The masks of one image that take part, by falling score; of equal scores the lower index comes first.
struct Candidates {
  std::vector<int64_t> indices;
  std::vector<float> scores;
  std::vector<int32_t> classes;
  std::vector<CroppedMask> masks;

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
  float iou(int64_t a, int64_t b) const {
    if (classes[a] != classes[b]) return 0.0f;
    const int64_t common = intersection(masks[a], masks[b]);
    return iou_of_counts(common, masks[a].area + masks[b].area - common);
  }
};

struct Kept {
  int64_t index;
  float score;
};

// Rough cycles of one IoU.
constexpr int64_t kPairCost = 300;

void find_candidates(const float* scores, const int32_t* classes, int64_t count, const MaskNmsOptions& options,
                     Candidates* candidates) {
  // A decay multiplies, which means something for positive scores only.
  const bool decays = options.kind != MaskNmsKind::kHard;
  const bool bounded = options.has_score_threshold || decays;
  const float least = !options.has_score_threshold ? 0.0f
                      : decays                     ? std::max(options.score_threshold, 0.0f)
                                                   : options.score_threshold;
  std::vector<Kept> order;
  for (int64_t i = 0; i < count; ++i) {
    const float score = without_subnormals(scores[i]);
    if (classes[i] == kPaddingClass || std::isnan(score) || (bounded && !(score > least))) continue;
    order.push_back({i, score});
  }
  std::stable_sort(order.begin(), order.end(), [](const Kept& a, const Kept& b) { return a.score > b.score; });
  for (const Kept& one : order) {
    candidates->indices.push_back(one.index);
    candidates->scores.push_back(one.score);
    candidates->classes.push_back(classes[one.index]);
  }
}

void suppress_hard(const Candidates& candidates, const MaskNmsOptions& options, const ParallelFor& parallel_for,
                   std::vector<Kept>* kept) {
  // Blocks, so that few calls of parallel_for serve many kept masks: within a block one after the other, then all that
  // the block keeps against everything behind it.
  constexpr int64_t kBlock = 32;
  const int64_t count = candidates.size();
  std::vector<char> suppressed(count, 0);
  std::vector<int64_t> winners;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, count);
    winners.clear();
    for (int64_t i = begin; i < end; ++i) {
      if (suppressed[i]) continue;
      kept->push_back({candidates.indices[i], candidates.scores[i]});
      if (static_cast<int64_t>(kept->size()) == options.max_output_size) return;
      winners.push_back(i);
      for (int64_t j = i + 1; j < end; ++j) {
        if (!suppressed[j] && candidates.classes[i] == candidates.classes[j]) {
          suppressed[j] = candidates.iou(i, j) > options.iou_threshold;
        }
      }
    }
    if (winners.empty()) continue;
    const int64_t cost = kPairCost * static_cast<int64_t>(winners.size());
    parallel_for.run(count - end, cost, [&](int64_t from, int64_t to) {
      for (int64_t j = end + from; j < end + to; ++j) {
        for (const int64_t i : winners) {
          if (suppressed[j]) break;
          if (candidates.classes[i] == candidates.classes[j]) {
            suppressed[j] = candidates.iou(i, j) > options.iou_threshold;
          }
        }
      }
    });
  }
}

void decay_soft(const Candidates& candidates, const MaskNmsOptions& options, const ParallelFor& parallel_for,
                std::vector<Kept>* kept) {
  const ScoreDecay decay(options.sigma);
  const float least = options.has_score_threshold ? std::max(options.score_threshold, 0.0f) : 0.0f;
  std::vector<float> scores = candidates.scores;
  std::vector<int64_t> alive(candidates.size());
  for (int64_t i = 0; i < candidates.size(); ++i) alive[i] = i;
  while (!alive.empty() && static_cast<int64_t>(kept->size()) < options.max_output_size) {
    size_t best = 0;
    for (size_t at = 1; at < alive.size(); ++at) {
      const int64_t i = alive[at], top = alive[best];
      if (scores[i] > scores[top] || (scores[i] == scores[top] && candidates.indices[i] < candidates.indices[top])) {
        best = at;
      }
    }
    const int64_t winner = alive[best];
    if (!(scores[winner] > least)) return;
    kept->push_back({candidates.indices[winner], scores[winner]});
    alive.erase(alive.begin() + static_cast<int64_t>(best));
    parallel_for.run(static_cast<int64_t>(alive.size()), kPairCost, [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; ++at) {
        const int64_t i = alive[at];
        const double overlap = candidates.iou(winner, i);
        if (overlap > 0) scores[i] = decay(scores[i], overlap * overlap);
      }
    });
  }
}

void decay_matrix(const Candidates& candidates, const MaskNmsOptions& options, const ParallelFor& parallel_for,
                  std::vector<Kept>* kept) {
  const ScoreDecay decay(options.sigma);
  const float least = options.has_score_threshold ? std::max(options.score_threshold, 0.0f) : 0.0f;
  const int64_t count = candidates.size();
  // How much each mask is itself overlapped by a better one, which takes that much off its right to suppress.
  std::vector<double> overlapped(count);
  std::vector<float> scores(count);
  parallel_for.run(count, kPairCost * (count / 2 + 1), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      float most = 0;
      for (int64_t i = 0; i < j; ++i) most = std::max(most, candidates.iou(i, j));
      overlapped[j] = static_cast<double>(most) * static_cast<double>(most);
    }
  });
  // The overlaps again: as a matrix they would need the square of the number of masks in memory.
  parallel_for.run(count, kPairCost * (count / 2 + 1), [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      double exponent = 0;
      for (int64_t i = 0; i < j && overlapped[j] > 0; ++i) {
        const double overlap = candidates.iou(i, j);
        exponent = std::max(exponent, overlap * overlap - overlapped[i]);
      }
      scores[j] = exponent > 0 ? decay(candidates.scores[j], exponent) : candidates.scores[j];
    }
  });
  for (int64_t j = 0; j < count; ++j) {
    if (scores[j] > least) kept->push_back({candidates.indices[j], scores[j]});
  }
  std::sort(kept->begin(), kept->end(),
            [](const Kept& a, const Kept& b) { return a.score != b.score ? a.score > b.score : a.index < b.index; });
}

}  // namespace

Status mask_nms_kernel(const MaskNmsInput& input, const MaskNmsOptions& options, const MaskNmsOutput& output,
                       const ParallelFor& parallel_for) {
  const auto [batch, count, height, row_bytes] = input.masks.shape;
  const int64_t room = options.max_output_size;
  for (int64_t image = 0; image < batch; ++image) {
    MaskStack stack;
    const uint8_t* const data = input.masks.data + image * count * height * row_bytes;
    KSEG_RETURN_IF_ERROR(make_mask_stack("masks", data, {count, height, row_bytes}, options.width, &stack));
    if (!input.boxes.empty()) stack.boxes = input.boxes.data + 4 * image * count;
    Candidates candidates;
    std::vector<Kept> kept;
    if (room > 0) {
      find_candidates(input.scores.data + image * count, input.class_ids.data + image * count, count, options,
                      &candidates);
      crop_masks(stack, candidates.indices, parallel_for, &candidates.masks);
      switch (options.kind) {
        case MaskNmsKind::kHard:
          suppress_hard(candidates, options, parallel_for, &kept);
          break;
        case MaskNmsKind::kSoft:
          decay_soft(candidates, options, parallel_for, &kept);
          break;
        case MaskNmsKind::kMatrix:
          decay_matrix(candidates, options, parallel_for, &kept);
          break;
      }
    }
    const int64_t found = std::min(room, static_cast<int64_t>(kept.size()));
    int32_t* const indices = output.indices.data + image * room;
    float* const scores = output.scores.data + image * room;
    for (int64_t i = 0; i < found; ++i) {
      indices[i] = static_cast<int32_t>(kept[i].index);
      scores[i] = kept[i].score;
    }
    std::fill_n(indices + found, room - found, -1);
    std::fill_n(scores + found, room - found, 0.0f);
    output.num_valid.data[image] = static_cast<int32_t>(found);
  }
  return Status();
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status mask_nms_kernel(const MaskNmsInput&, const MaskNmsOptions&, const MaskNmsOutput&,
                                           const ParallelFor&))

Status make_mask_nms_options(const std::string& kind, double iou_threshold, double score_threshold,
                             bool has_score_threshold, double sigma, int64_t max_output_size, int64_t width,
                             MaskNmsOptions* options) {
  if (kind == "hard") {
    options->kind = MaskNmsKind::kHard;
  } else if (kind == "soft") {
    options->kind = MaskNmsKind::kSoft;
  } else if (kind == "matrix") {
    options->kind = MaskNmsKind::kMatrix;
  } else {
    return invalid_argument("kind must be hard, soft or matrix, got ", kind);
  }
  if (std::isnan(iou_threshold)) return invalid_argument("iou_threshold must be a number, got NaN");
  if (std::isnan(score_threshold)) return invalid_argument("score_threshold must be a number, got NaN");
  // Beyond float's range a cast is undefined.
  static constexpr double kLargest = std::numeric_limits<float>::max();
  const auto narrow_number = [](double value) {
    return without_subnormals(static_cast<float>(std::clamp(value, -kLargest, kLargest)));
  };
  options->iou_threshold = narrow_number(iou_threshold);
  options->score_threshold =
      std::isinf(score_threshold) ? static_cast<float>(score_threshold) : narrow_number(score_threshold);
  options->has_score_threshold = has_score_threshold;
  // As floats: an attribute that was given as 1e-6 is a little less.
  options->sigma = static_cast<float>(std::clamp(sigma, -1e30, 1e30));
  if (!(options->sigma >= 1e-6f && options->sigma <= 1e6f)) {
    return invalid_argument("sigma must be in 1e-6..1e6, got ", sigma);
  }
  if (max_output_size < -1 || max_output_size > kMaxNmsOutputs) {
    return invalid_argument("max_output_size must be in 0..", kMaxNmsOutputs, " or -1, got ", max_output_size);
  }
  options->max_output_size = max_output_size;
  if (width < kDenseMasks || width > kMaxMaskWidth) {
    return invalid_argument("width must be in 0..", kMaxMaskWidth, " or -1, got ", width);
  }
  options->width = width;
  return Status();
}

Status mask_nms(const MaskNmsInput& input, const MaskNmsOptions& options, const MaskNmsOutput& output,
                const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_mask_nms(input, options));
  const Shape<2> expected = {input.masks.shape[0], options.max_output_size};
  if (output.indices.shape != expected || output.scores.shape != expected || output.num_valid.shape[0] != expected[0]) {
    return invalid_argument("the results must have shape ", to_string<2>(expected), ", got ",
                            to_string<2>(output.indices.shape));
  }
  KSEG_RETURN_DISPATCH(mask_nms_kernel, input, options, output, parallel_for);
}

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
