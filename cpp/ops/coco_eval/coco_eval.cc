#include "ops/coco_eval/coco_eval.h"

// Scalar code with branches: compiled once.

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace kseg {
namespace {

Status check_splits(const char* argument, const View<const int64_t, 1>& splits, int64_t total) {
  const int64_t last = splits.shape[0] - 1;
  if (last < 0) return invalid_argument(argument, " must have at least one entry");
  bool fits = splits.data[0] == 0 && splits.data[last] == total;
  for (int64_t i = 0; i < last; ++i) fits = fits && splits.data[i] <= splits.data[i + 1];
  if (fits) return Status();
  return invalid_argument(argument, " must rise from 0 to the number of entries, ", total);
}

Status check_length(const char* argument, int64_t length, const char* of, int64_t expected) {
  if (length == expected) return Status();
  return invalid_argument(argument, " must have one entry per ", of, ", ", expected, ", got ", length);
}

// Where each group's pairs begin.
std::vector<int64_t> pair_offsets(const CocoGroups& groups) {
  std::vector<int64_t> offsets(static_cast<size_t>(groups.count() + 1));
  const int64_t *detections = groups.detection_splits.data, *truths = groups.truth_splits.data;
  for (int64_t i = 0; i < groups.count(); ++i) {
    offsets[i + 1] = offsets[i] + (detections[i + 1] - detections[i]) * (truths[i + 1] - truths[i]);
  }
  return offsets;
}

// Apart from where they are used, so that no compiler fuses the product into a sum, which would round otherwise than
// COCO.
std::vector<double> box_areas(const View<const double, 2>& boxes) {
  std::vector<double> areas(static_cast<size_t>(boxes.shape[0]));
  for (size_t i = 0; i < areas.size(); ++i) areas[i] = boxes.data[4 * i + 2] * boxes.data[4 * i + 3];
  return areas;
}

// Cycles that a group costs, given those per pair.
int64_t group_cost(const std::vector<int64_t>& offsets, int64_t per_pair) {
  const int64_t groups = std::max<int64_t>(1, static_cast<int64_t>(offsets.size()) - 1);
  return 50 + offsets.back() / groups * per_pair;
}

// One group's matching, with memory that is used again.
class Matcher {
 public:
  Matcher(const CocoMatchInput& input, const View<int32_t, 3>& matches, const View<uint8_t, 3>& ignored)
      : input_(input), matches_(matches), ignored_(ignored) {
    // A pair below every threshold is never looked at again.
    least_ = std::numeric_limits<double>::infinity();
    for (int64_t t = 0; t < input.thresholds.shape[0]; ++t) least_ = std::min(least_, bar(t));
  }

  void match(int64_t group, const double* ious) {
    first_ = input_.groups.detection_splits.data[group];
    stop_ = input_.groups.detection_splits.data[group + 1];
    truth_first_ = input_.groups.truth_splits.data[group];
    truth_count_ = input_.groups.truth_splits.data[group + 1] - truth_first_;
    find_candidates(ious);
    for (int64_t a = 0; a < input_.area_ranges.shape[0]; ++a) {
      const double low = input_.area_ranges.data[2 * a], high = input_.area_ranges.data[2 * a + 1];
      truth_ignored_.resize(static_cast<size_t>(truth_count_));
      for (int64_t g = 0; g < truth_count_; ++g) {
        const double area = input_.truth_areas.data[truth_first_ + g];
        truth_ignored_[g] = input_.is_crowd.data[truth_first_ + g] || area < low || area > high;
      }
      for (int64_t t = 0; t < input_.thresholds.shape[0]; ++t) match_at(a, t, low, high);
    }
  }

 private:
  struct Candidate {
    int64_t truth;  // in the group
    double iou;
  };

  // COCO's own bound: a threshold of 1 is met by an IoU that rounding has left a little below.
  double bar(int64_t t) const { return std::min(input_.thresholds.data[t], 1 - 1e-10); }

  void find_candidates(const double* ious) {
    candidates_.clear();
    ends_.clear();
    for (int64_t d = first_; d < stop_; ++d) {
      for (int64_t g = 0; g < truth_count_; ++g, ++ious) {
        if (!(*ious < least_)) candidates_.push_back({g, *ious});
      }
      ends_.push_back(candidates_.size());
    }
  }

  void match_at(int64_t a, int64_t t, double low, double high) {
    const int64_t row = (a * matches_.shape[1] + t) * matches_.shape[2];
    taken_.assign(static_cast<size_t>(truth_count_), 0);
    size_t begin = 0;
    for (int64_t d = first_; d < stop_; ++d) {
      const size_t end = ends_[d - first_];
      // Ground truth that is ignored is given only to a detection that finds no other.
      int64_t best = best_of(begin, end, bar(t), false);
      const bool regular = best >= 0;
      if (!regular) best = best_of(begin, end, bar(t), true);
      begin = end;
      const double area = input_.detection_areas.data[d];
      if (best >= 0) taken_[best] = 1;
      matches_.data[row + d] = best < 0 ? -1 : static_cast<int32_t>(truth_first_ + best);
      ignored_.data[row + d] = best < 0 ? area < low || area > high : !regular;
    }
  }

  // The last of the greatest IoU among the candidates that are free; a crowd always is.
  int64_t best_of(size_t begin, size_t end, double bar, bool among_ignored) const {
    int64_t best = -1;
    for (size_t i = begin; i < end; ++i) {
      const Candidate& candidate = candidates_[i];
      const int64_t g = candidate.truth;
      if (static_cast<bool>(truth_ignored_[g]) != among_ignored) continue;
      if (taken_[g] && !input_.is_crowd.data[truth_first_ + g]) continue;
      if (candidate.iou < bar) continue;
      bar = candidate.iou;
      best = g;
    }
    return best;
  }

  const CocoMatchInput& input_;
  const View<int32_t, 3>& matches_;
  const View<uint8_t, 3>& ignored_;
  double least_;
  int64_t first_ = 0, stop_ = 0, truth_first_ = 0, truth_count_ = 0;
  std::vector<Candidate> candidates_;
  std::vector<size_t> ends_;  // of each detection's candidates
  std::vector<uint8_t> truth_ignored_, taken_;
};

// One class, area range and limit of detections.
class Curve {
 public:
  Curve(const CocoAccumulateInput& input, const View<double, 5>& precision, const View<double, 4>& recall,
        const View<double, 5>& scores)
      : input_(input), precision_(precision), recall_(recall), scores_(scores) {}

  void write(int64_t k, int64_t a, int64_t m, const std::vector<int64_t>& order) {
    const int64_t areas = input_.positives.shape[1], limits = input_.most_detections.shape[0];
    const int64_t classes = input_.positives.shape[0], points = input_.recalls.shape[0];
    const int64_t positives = input_.positives.data[k * areas + a];
    for (int64_t t = 0; t < input_.matches.shape[1]; ++t) {
      const int64_t at = ((t * classes + k) * areas + a) * limits + m;
      if (positives > 0) collect(a, t, input_.most_detections.data[m], order);
      recall_.data[at] = positives > 0 ? static_cast<double>(hits_.size()) / static_cast<double>(positives) : -1;
      size_t hit = 0;
      for (int64_t r = 0; r < points; ++r) {
        const int64_t to = (((t * points + r) * classes + k) * areas + a) * limits + m;
        precision_.data[to] = scores_.data[to] = positives > 0 ? 0 : -1;
        if (positives <= 0 || !any_) continue;
        const double wanted = input_.recalls.data[r];
        if (!(wanted > 0)) {  // met by the first detection, hit or not
          precision_.data[to] = hits_.empty() ? 0 : hits_[0].precision;
          scores_.data[to] = top_score_;
          continue;
        }
        while (hit < hits_.size() && static_cast<double>(hit + 1) / static_cast<double>(positives) < wanted) ++hit;
        if (hit == hits_.size()) continue;
        precision_.data[to] = hits_[hit].precision;
        scores_.data[to] = hits_[hit].score;
      }
    }
  }

 private:
  struct Hit {
    double precision, score;
  };

  // The hits by falling score, each with the highest precision from there on. Recall rises and precision is highest at
  // hits only, so that nothing else need be kept.
  void collect(int64_t a, int64_t t, int64_t most, const std::vector<int64_t>& order) {
    const int64_t row = (a * input_.matches.shape[1] + t) * input_.matches.shape[2];
    hits_.clear();
    any_ = false;
    int64_t misses = 0;
    for (const int64_t d : order) {
      if (input_.ranks.data[d] >= most) continue;
      if (!any_) top_score_ = input_.scores.data[d];
      any_ = true;
      if (input_.ignored.data[row + d]) continue;
      if (input_.matches.data[row + d] < 0) {
        ++misses;
        continue;
      }
      const auto hits = static_cast<double>(hits_.size() + 1);
      // COCO's own guard against 0 / 0, which is felt at the first hit.
      const double all = static_cast<double>(misses) + hits + std::numeric_limits<double>::epsilon();
      hits_.push_back({hits / all, input_.scores.data[d]});
    }
    for (size_t i = hits_.size(); i-- > 1;) {
      hits_[i - 1].precision = std::max(hits_[i - 1].precision, hits_[i].precision);
    }
  }

  const CocoAccumulateInput& input_;
  const View<double, 5>& precision_;
  const View<double, 4>& recall_;
  const View<double, 5>& scores_;
  std::vector<Hit> hits_;
  bool any_ = false;
  double top_score_ = 0;
};

}  // namespace

Status check_coco_groups(const CocoGroups& groups, int64_t detections, int64_t truths, int64_t* pairs) {
  KSEG_RETURN_IF_ERROR(check_splits("detection_splits", groups.detection_splits, detections));
  KSEG_RETURN_IF_ERROR(check_splits("truth_splits", groups.truth_splits, truths));
  if (groups.truth_splits.shape[0] != groups.detection_splits.shape[0]) {
    return invalid_argument("detection_splits and truth_splits must have equally many entries, got ",
                            groups.detection_splits.shape[0], " and ", groups.truth_splits.shape[0]);
  }
  if (truths > std::numeric_limits<int32_t>::max()) {
    return invalid_argument("truth_splits must end below 2**31, got ", truths);
  }
  *pairs = pair_offsets(groups).back();
  return Status();
}

Status coco_eval_box_iou(const View<const double, 2>& detections, const View<const double, 2>& truths,
                         const CocoGroups& groups, const View<const uint8_t, 1>& is_crowd,
                         const View<double, 1>& output, const ParallelFor& parallel_for) {
  if (detections.shape[1] != 4 || truths.shape[1] != 4) {
    return invalid_argument("detections and truths must be boxes [N, 4], got ", to_string<2>(detections.shape), " and ",
                            to_string<2>(truths.shape));
  }
  int64_t pairs = 0;
  KSEG_RETURN_IF_ERROR(check_coco_groups(groups, detections.shape[0], truths.shape[0], &pairs));
  KSEG_RETURN_IF_ERROR(check_length("is_crowd", is_crowd.shape[0], "ground truth", truths.shape[0]));
  KSEG_RETURN_IF_ERROR(check_length("the result", output.shape[0], "pair", pairs));
  const std::vector<int64_t> offsets = pair_offsets(groups);
  const std::vector<double> areas = box_areas(detections), truth_areas = box_areas(truths);
  run_in_pieces(parallel_for, groups.count(), 16, group_cost(offsets, 20), [&](int64_t begin, int64_t end) {
    for (int64_t group = begin; group < end; ++group) {
      double* to = output.data + offsets[group];
      const int64_t truth_begin = groups.truth_splits.data[group], truth_end = groups.truth_splits.data[group + 1];
      for (int64_t d = groups.detection_splits.data[group]; d < groups.detection_splits.data[group + 1]; ++d) {
        const double* const a = detections.data + 4 * d;
        // In two loops: see box_areas().
        for (int64_t g = truth_begin; g < truth_end; ++g) {
          const double* const b = truths.data + 4 * g;
          const double width = std::min(a[2] + a[0], b[2] + b[0]) - std::max(a[0], b[0]);
          const double height = std::min(a[3] + a[1], b[3] + b[1]) - std::max(a[1], b[1]);
          to[g - truth_begin] = width > 0 && height > 0 ? width * height : 0;
        }
        for (int64_t g = truth_begin; g < truth_end; ++g, ++to) {
          if (*to != 0) *to = *to / (is_crowd.data[g] ? areas[d] : areas[d] + truth_areas[g] - *to);
        }
      }
    }
  });
  return Status();
}

Status check_coco_match(const CocoMatchInput& input) {
  const int64_t detections = input.detection_areas.shape[0], truths = input.truth_areas.shape[0];
  int64_t pairs = 0;
  KSEG_RETURN_IF_ERROR(check_coco_groups(input.groups, detections, truths, &pairs));
  KSEG_RETURN_IF_ERROR(check_length("is_crowd", input.is_crowd.shape[0], "ground truth", truths));
  KSEG_RETURN_IF_ERROR(check_length("ious", input.ious.shape[0], "pair", pairs));
  if (input.area_ranges.shape[1] != 2) {
    return invalid_argument("area_ranges must have shape [A, 2], got ", to_string<2>(input.area_ranges.shape));
  }
  return Status();
}

Status coco_eval_match(const CocoMatchInput& input, const View<int32_t, 3>& matches, const View<uint8_t, 3>& ignored,
                       const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_coco_match(input));
  const Shape<3> shape{input.area_ranges.shape[0], input.thresholds.shape[0], input.detection_areas.shape[0]};
  if (matches.shape != shape || ignored.shape != shape) {
    return invalid_argument("the result must have shape ", to_string<3>(shape));
  }
  const std::vector<int64_t> offsets = pair_offsets(input.groups);
  const int64_t cost = group_cost(offsets, 5 * (1 + shape[0] * shape[1]));
  run_workers(parallel_for, input.groups.count(), 16, cost, [&](Pieces& pieces) {
    Matcher matcher(input, matches, ignored);
    for (int64_t begin, end; pieces.take(&begin, &end);) {
      for (int64_t group = begin; group < end; ++group) matcher.match(group, input.ious.data + offsets[group]);
    }
  });
  return Status();
}

Status check_coco_accumulate(const CocoAccumulateInput& input) {
  const int64_t detections = input.scores.shape[0];
  KSEG_RETURN_IF_ERROR(check_splits("class_splits", input.class_splits, detections));
  KSEG_RETURN_IF_ERROR(check_length("ranks", input.ranks.shape[0], "detection", detections));
  if (input.matches.shape != input.ignored.shape || input.matches.shape[2] != detections) {
    return invalid_argument("matches and ignored must have shape [A, T, ", detections, "], got ",
                            to_string<3>(input.matches.shape), " and ", to_string<3>(input.ignored.shape));
  }
  const Shape<2> expected{input.class_splits.shape[0] - 1, input.matches.shape[0]};
  if (input.positives.shape != expected) {
    return invalid_argument("positives must have shape [K, A] = ", to_string<2>(expected), ", got ",
                            to_string<2>(input.positives.shape));
  }
  for (int64_t r = 0; r < input.recalls.shape[0]; ++r) {
    if (!(input.recalls.data[r] >= (r ? input.recalls.data[r - 1] : -std::numeric_limits<double>::infinity()))) {
      return invalid_argument("recalls must rise, got ", input.recalls.data[r], " at position ", r);
    }
  }
  for (int64_t d = 0; d < detections; ++d) {
    if (input.scores.data[d] != input.scores.data[d]) {
      return invalid_argument("scores must not be NaN, got NaN at position ", d);
    }
  }
  return Status();
}

Status coco_eval_accumulate(const CocoAccumulateInput& input, const View<double, 5>& precision,
                            const View<double, 4>& recall, const View<double, 5>& scores,
                            const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_coco_accumulate(input));
  const auto [classes, areas] = input.positives.shape;
  const int64_t limits = input.most_detections.shape[0], thresholds = input.matches.shape[1];
  const Shape<5> curve_shape{thresholds, input.recalls.shape[0], classes, areas, limits};
  if (precision.shape != curve_shape || scores.shape != curve_shape ||
      recall.shape != Shape<4>{thresholds, classes, areas, limits}) {
    return invalid_argument("the result must have shape ", to_string<5>(curve_shape));
  }
  std::vector<std::vector<int64_t>> orders(static_cast<size_t>(classes));
  const int64_t per_class = input.scores.shape[0] / std::max<int64_t>(1, classes);
  run_in_pieces(parallel_for, classes, 1, 50 + per_class * 150, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      for (int64_t d = input.class_splits.data[k]; d < input.class_splits.data[k + 1]; ++d) orders[k].push_back(d);
      // Stable: equal scores stay in the order of images.
      std::stable_sort(orders[k].begin(), orders[k].end(),
                       [&](int64_t a, int64_t b) { return input.scores.data[a] > input.scores.data[b]; });
    }
  });
  const int64_t curves = areas * limits;
  const int64_t cost = 100 + thresholds * (per_class * 5 + input.recalls.shape[0] * 20);
  run_workers(parallel_for, classes * curves, 1, cost, [&](Pieces& pieces) {
    Curve curve(input, precision, recall, scores);
    for (int64_t begin, end; pieces.take(&begin, &end);) {
      for (int64_t i = begin; i < end; ++i)
        curve.write(i / curves, i % curves / limits, i % limits, orders[i / curves]);
    }
  });
  return Status();
}

}  // namespace kseg
