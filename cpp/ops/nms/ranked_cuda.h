// The candidates of a batch in device memory: as they come, ranked, and as boxes in the order of their ranks.
#ifndef KSEG_OPS_NMS_RANKED_CUDA_H_
#define KSEG_OPS_NMS_RANKED_CUDA_H_

#include <algorithm>
#include <cstdint>

#include "base/cuda/context.h"
#include "base/cuda/launch_shape.h"

namespace kseg {

// How the work is cut; no result depends on it.
struct NmsPlan {
  int tile;   // candidates that a block sorts: a power of two, at least 64
  int fan;    // runs that are merged at a time, at least 2
  int round;  // candidates that are compared with each other at a time, a multiple of 128 and above 1024 of 1024
};

inline NmsPlan nms_plan(int64_t images, int64_t candidates) {
  constexpr int64_t kMostBits = int64_t{1} << 31;  // of all comparisons of a round: 256 MB
  NmsPlan plan{64, 32, 128};
  while (plan.tile < 512 && plan.tile < candidates) plan.tile *= 2;
  while (plan.round < 4096 && plan.round < candidates) plan.round *= 2;
  while (plan.round > 1024 && images > kMostBits / plan.round / plan.round) plan.round /= 2;
  return plan;
}

// As NmsImage, of images one after the other.
struct CudaNmsImages {
  int64_t images = 0;
  int64_t rows = 0;
  int64_t classes = 1;
  const float* boxes = nullptr;
  bool boxes_per_class = false;
  const float* scores = nullptr;
  const int32_t* class_ids = nullptr;
  bool class_agnostic = false;
  float score_threshold = 0;  // not subnormal
  float most_score = 0;       // what scores above it count as

  constexpr int64_t candidates() const { return rows * classes; }
};

struct RankedCuda {
  int64_t images = 0;
  int64_t places = 0;  // of an image
  const uint64_t* keys = nullptr;    // [images, places]: candidates by falling score, of equal ones by number
  const int32_t* counts = nullptr;   // [images]: how many of the places are taken
};

// Boxes by rank, as PreparedBox. `area` and `share` stand side by side.
struct CudaRankedBoxes {
  float* corners = nullptr;   // [images, places, 4]; zeros overlap nothing
  float* areas = nullptr;     // [images, places, 2]
  int32_t* groups = nullptr;  // [images, places]: boxes of different groups do not meet
};

// Queues the ranking of what has a score above the threshold and is no padding.
Status rank_boxes_cuda(const CudaNmsImages& images, const NmsPlan& plan, const CudaContext& context,
                       RankedCuda* ranked);

// Queues the fetching of the boxes. `factor` makes `share` of the area; unless `shapes`, all overlap nothing.
Status prepare_boxes_cuda(const CudaNmsImages& images, const RankedCuda& ranked, bool shapes, float factor,
                          const CudaContext& context, CudaRankedBoxes* boxes);

struct CudaPicks {
  int32_t* counts = nullptr;  // [images]
  int32_t* ranks = nullptr;   // [images, most]: of what is picked, rising
};

struct CudaPickLimits {
  int64_t most;            // picks of an image
  int64_t most_per_group;  // of them; `most` and above: no limit
};

// Queues greedy suppression in bounded memory: rounds of candidates, each compared with the picks so far and among
// themselves on the whole device, into bits, and then settled by one block per image.
Status pick_greedily_cuda(const RankedCuda& ranked, const CudaRankedBoxes& boxes, int64_t candidates,
                          float iou_threshold, const CudaPickLimits& limits, const NmsPlan& plan,
                          const CudaContext& context, CudaPicks* picks);

// Settles one round, where bit `j % 32` of bits[image][j / 32][i] says that candidate `first + j` of an image, which is
// better, drops candidate `first + i` if it is picked itself.
struct CudaRound {
  int64_t first;
  int round;
  const uint32_t* bits;   // [images, round / 32, round]; words with j / 32 > i / 32 are not read
  uint32_t* dead;         // [images, round / 32]: what earlier picks drop; left as zeros
  int32_t* same;          // [images, round]: how many earlier picks are of the group; left as zeros. Null: no limit
  const int32_t* groups;  // [images, places]; null as `same`
};
Status settle_round_cuda(const RankedCuda& ranked, const CudaRound& round, const CudaPickLimits& limits,
                         const CudaPicks& picks, const CudaContext& context);

// -0 and subnormal numbers as 0.
inline float plain_threshold(float value) { return value > -0x1p-126f && value < 0x1p-126f ? 0.0f : value; }

}  // namespace kseg

#endif  // KSEG_OPS_NMS_RANKED_CUDA_H_
