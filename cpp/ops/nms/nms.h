// Non-maximum suppression of boxes: a box goes if it overlaps a better one of its class too much.
#ifndef KSEG_OPS_NMS_NMS_H_
#define KSEG_OPS_NMS_NMS_H_

#include <cstdint>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

struct NmsArgs {
  View<const float, 2> boxes;    // [N, 4]: x1 y1 x2 y2
  View<const float, 1> scores;   // [N]
  View<const int32_t, 1> class_ids;  // [N], a negative one marking padding; or [0]: all of one class
  float iou_threshold = 0.5f;
  float score_threshold = 0.0f;
  int64_t max_output_size = -1;  // no limit where negative
};

// Writes the indices of the kept boxes, best first, to `kept`, which has room for min(N, max_output_size) of them.
KSEG_API Status nms(const NmsArgs& args, int32_t* kept, int64_t* kept_count, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_NMS_NMS_H_
