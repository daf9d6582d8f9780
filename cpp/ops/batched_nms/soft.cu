// Soft-NMS. Picks follow from one another, so an image has one block, and every pick costs a pass over the candidates
// that may be next and a reduction. A candidate joins those only when its first score, which no decay raises, is the
// best: it then takes the decays of all picks before.
//
// Reckoning: with 2000 candidates at work a pass is 2 per thread and some 30 instructions for each, 500 cycles, and two
// reductions of 1024 threads as much again: 0.6 us a pick, 60 us for 100 picks, whatever the number of images up to
// 132.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "ops/batched_nms/batched_nms_cuda.h"
#include "ops/batched_nms/decay.cuh"
#include "ops/nms/box.cuh"
#include "ops/nms/rank.cuh"

namespace kseg {
namespace {

struct Softening {
  RankedCuda ranked;
  CudaRankedBoxes boxes;
  CudaPickLimits limits;
  CudaDetections picks;
  int32_t* ranks;  // of the picks
  float* scores;  // [images, places]; 0: picked or dropped
  int32_t* same;  // [images, places]: how many picks are of the group; null: no limit
  bool gaussian;
  float iou_threshold;
  float score_threshold;
  float inverse_sigma;
};

struct SoftBox {
  float4 corners;
  float2 area;
  int32_t group;
};

KSEG_DEVICE SoftBox soft_box(const CudaRankedBoxes& boxes, int64_t at) {
  return {reinterpret_cast<const float4*>(boxes.corners)[at], reinterpret_cast<const float2*>(boxes.areas)[at],
          boxes.groups[at]};
}

// The score of a box of the group of `pick` after the pick; 0 if that drops it.
KSEG_DEVICE float softened(const Softening& p, const SoftBox& pick, const SoftBox& box, float score) {
  const float intersection = box_intersection(box.corners, pick.corners);
  if (!may_exceed(intersection, box.area.y, pick.area.y)) return score;
  const float iou = box_iou(intersection, box.area.x, pick.area.x);
  if (p.gaussian) {
    score = score * gaussian_decay(iou * iou, p.inverse_sigma);
  } else if (iou > p.iou_threshold) {
    score = score * (1.0f - iou);
  }
  return score > p.score_threshold ? score : 0.0f;
}

template <int threads>
__global__ void __launch_bounds__(threads) soften_kernel(const __grid_constant__ Softening p) {
  KSEG_SHARED(best_rank, int64_t);
  const int thread = static_cast<int>(threadIdx.x);
  for (int64_t image = blockIdx.x; image < p.ranked.images; image += gridDim.x) {
    const int64_t base = image * p.ranked.places;
    const uint64_t* const keys = p.ranked.keys + base;
    float* const scores = p.scores + base;
    int32_t* const same = p.same == nullptr ? nullptr : p.same + base;
    int32_t* const ranks = p.ranks + image * p.limits.most;
    const int64_t count = p.ranked.counts[image];
    int64_t picked = 0;
    int64_t joined = 0;  // candidates that have a score of now
    SoftBox pick{};
    while (picked < p.limits.most) {
      uint64_t own_best = kNoKey;
      int64_t own_rank = 0;
      const auto offer = [&](int64_t i, float score) {
        const uint64_t key = score == 0.0f ? kNoKey : candidate_key(score, key_number(keys[i]));
        if (key < own_best) {
          own_best = key;
          own_rank = i;
        }
      };
      for (int64_t i = thread; i < joined; i += threads) {
        float score = scores[i];
        if (score == 0.0f) continue;
        const SoftBox box = soft_box(p.boxes, base + i);
        if (box.group == pick.group) {
          score = softened(p, pick, box, score);
          if (same != nullptr && ++same[i] >= p.limits.most_per_group) score = 0.0f;
          scores[i] = score;
        }
        offer(i, score);
      }
      uint64_t best = block_reduce<threads>(own_best, Minimum());
      while (joined < count && keys[joined] < best) {
        const int64_t i = joined + thread;
        if (i < count) {
          float score = key_score(keys[i]);
          int32_t of_group = 0;
          const SoftBox box = soft_box(p.boxes, base + i);
          for (int64_t other = 0; other < picked && score != 0.0f; ++other) {
            const SoftBox earlier = soft_box(p.boxes, base + ranks[other]);
            if (earlier.group != box.group) continue;
            score = softened(p, earlier, box, score);
            if (same != nullptr && ++of_group >= p.limits.most_per_group) score = 0.0f;
          }
          if (same != nullptr) same[i] = of_group;
          scores[i] = score;
          offer(i, score);
        }
        joined += threads;
        best = block_reduce<threads>(own_best, Minimum());
      }
      joined = min(joined, count);
      if (best == kNoKey) break;
      if (own_best == best) {  // keys differ: in one thread
        best_rank = own_rank;
        scores[own_rank] = 0.0f;
        ranks[picked] = static_cast<int32_t>(own_rank);
        p.picks.keys[image * p.limits.most + picked] = best;
      }
      __syncthreads();
      pick = soft_box(p.boxes, base + best_rank);
      ++picked;
    }
    if (thread == 0) p.picks.counts[image] = static_cast<int32_t>(picked);
    __syncthreads();
  }
}

}  // namespace

Status pick_softly_cuda(const RankedCuda& ranked, const CudaRankedBoxes& boxes, const BatchedNmsOptions& options,
                        float score_threshold, int64_t candidates, const CudaPickLimits& limits,
                        const CudaContext& context, CudaDetections* picks) {
  Softening p{};
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(ranked.images * limits.most, &picks->keys));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(ranked.images, &picks->counts));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(ranked.images * limits.most, &p.ranks));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(ranked.images * ranked.places, &p.scores));
  if (limits.most_per_group < limits.most) {
    KSEG_RETURN_IF_ERROR(context.scratch->allocate(ranked.images * ranked.places, &p.same));
  }
  p.ranked = ranked;
  p.boxes = boxes;
  p.limits = limits;
  p.picks = *picks;
  p.gaussian = options.method == NmsMethod::kGaussian;
  p.iou_threshold = options.iou_threshold < 0x1p-126f ? 0x1p-126f : options.iou_threshold;
  p.score_threshold = score_threshold;
  p.inverse_sigma = 1.0f / options.sigma;
  constexpr int kFew = 128, kMany = 1024;
  return candidates <= 4 * kFew ? launch(&soften_kernel<kFew>, blocks_for(ranked.images, kFew), context, p)
                                : launch(&soften_kernel<kMany>, blocks_for(ranked.images, kMany), context, p);
}

}  // namespace kseg
