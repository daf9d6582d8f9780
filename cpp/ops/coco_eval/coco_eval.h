// COCO's evaluation of detections, to the bit: boxes compared, detections matched with ground truth, and precision and
// recall accumulated. No TensorFlow op: an evaluation stands outside of graphs. Masks are compared by ops/rle.
//
// Detections and ground truth come sorted into groups (an image and a class), one group after the other; within each,
// detections by falling score. A group's pairs are a matrix, a row per detection, and matrices follow each other.
#ifndef KSEG_OPS_COCO_EVAL_COCO_EVAL_H_
#define KSEG_OPS_COCO_EVAL_COCO_EVAL_H_

#include <cstdint>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// Entries splits[i] up to splits[i + 1] belong to group i.
struct CocoGroups {
  View<const int64_t, 1> detection_splits;
  View<const int64_t, 1> truth_splits;

  int64_t count() const { return detection_splits.shape[0] - 1; }
};

// Equally many entries, at least one, that rise from 0 to the number of detections and of ground truth. Writes the
// number of pairs.
KSEG_API Status check_coco_groups(const CocoGroups& groups, int64_t detections, int64_t truths, int64_t* pairs);

// Boxes [N, 4] are x, y, width, height: COCO's form, for converting rounds. `is_crowd` has a flag per ground truth: its
// denominator is the area of the detection. Without overlap the value is 0. `output` has an entry per pair.
KSEG_API Status coco_eval_box_iou(const View<const double, 2>& detections, const View<const double, 2>& truths,
                                  const CocoGroups& groups, const View<const uint8_t, 1>& is_crowd,
                                  const View<double, 1>& output, const ParallelFor& parallel_for);

struct CocoMatchInput {
  CocoGroups groups;
  View<const double, 1> ious;             // per pair
  View<const double, 1> detection_areas;  // [D]
  View<const double, 1> truth_areas;      // [N]
  View<const uint8_t, 1> is_crowd;        // [N]
  View<const double, 2> area_ranges;      // [A, 2], both ends included
  View<const double, 1> thresholds;       // [T]
};

KSEG_API Status check_coco_match(const CocoMatchInput& input);

// For each area range and IoU threshold: `matches` [A, T, D], the number of the ground truth that a detection is given,
// or -1; `ignored` [A, T, D], whether it counts neither as hit nor as miss.
KSEG_API Status coco_eval_match(const CocoMatchInput& input, const View<int32_t, 3>& matches,
                                const View<uint8_t, 3>& ignored, const ParallelFor& parallel_for);

// Detections sorted by class; within a class by image, and there by falling score.
struct CocoAccumulateInput {
  View<const double, 1> scores;            // [D]
  View<const int64_t, 1> ranks;            // [D], places within an image and class, from 0
  View<const int64_t, 1> class_splits;     // [K + 1]
  View<const int32_t, 3> matches;          // [A, T, D]
  View<const uint8_t, 3> ignored;          // [A, T, D]
  View<const int64_t, 2> positives;        // [K, A], ground truth that is not ignored
  View<const int64_t, 1> most_detections;  // [M]: per image and class those with lower ranks count
  View<const double, 1> recalls;           // [R], rising, where precision is read off
};

KSEG_API Status check_coco_accumulate(const CocoAccumulateInput& input);

// Precision and score [T, R, K, A, M] at each recall, and the highest recall [T, K, A, M]; -1 for a class without
// ground truth.
KSEG_API Status coco_eval_accumulate(const CocoAccumulateInput& input, const View<double, 5>& precision,
                                     const View<double, 4>& recall, const View<double, 5>& scores,
                                     const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_COCO_EVAL_COCO_EVAL_H_
