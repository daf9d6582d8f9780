// The kinds of mask NMS that lower scores. Both look at each IoU more than once, so all of an image's are kept: 4 N**2
// bytes, less than the masks themselves but for masks of fewer than 32 N pixels.
//
// Reckoning: counting pixels is nearly all, as in mask_iou.cu. Soft: a pick of one of 500 masks is a row of 2 KB, a
// decay of some 100 instructions in each thread and a reduction, 1 us; matrix: two passes over the matrix, 1 MB each.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "ops/mask_nms/mask_nms_cuda.h"
#include "ops/mask_nms/mask_pairs.cuh"
#include "ops/mask_nms/score_decay.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarpSize;

struct OverlapMatrix {
  CudaRankedMasks masks;
  int64_t groups;  // of `per_warp` better masks
  int per_warp;
  float* iou;  // [images, N, N] by rank; what stands above the diagonal is written for soft NMS, and the diagonal never
  bool both;
};

// A warp for a mask and a group of better ones.
__global__ void __launch_bounds__(kThreads) overlaps_kernel(const __grid_constant__ OverlapMatrix p) {
  const int64_t count = p.masks.per_image;
  const int64_t units = p.masks.ranked.images * count * p.groups;
  for (int64_t unit = static_cast<int64_t>(blockIdx.x) * kWarps + warp_index(); unit < units;
       unit += static_cast<int64_t>(gridDim.x) * kWarps) {
    const int64_t image = unit / p.groups / count, own = unit / p.groups % count;
    const int64_t first = unit % p.groups * p.per_warp, other = first + lane_index();
    if (own >= p.masks.ranked.counts[image] || first >= own) continue;
    const bool there = lane_index() < p.per_warp && other < own;
    const float iou = fmaxf(overlap_of_lane(p.masks, image, own, other, there), 0.0f);
    if (!there) continue;
    p.iou[(image * count + own) * count + other] = iou;
    if (p.both) p.iou[(image * count + other) * count + own] = iou;
  }
}

Status find_overlaps(const CudaRankedMasks& masks, bool both, const CudaContext& context, const float** iou) {
  const int64_t images = masks.ranked.images, count = masks.per_image;
  OverlapMatrix p{};
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * count * count, &p.iou));
  p.masks = masks;
  p.per_warp = mask_pairs_per_warp(images * count * count / 2, multiprocessors());
  p.groups = ceil_div(count, p.per_warp);
  p.both = both;
  *iou = p.iou;
  return launch(&overlaps_kernel, threads_for(images * count * p.groups * kWarpSize, kThreads), context, p);
}

struct SoftMasks {
  RankedCuda ranked;
  int64_t per_image;
  const float* iou;
  float* scores;  // [images, per_image]; 0: picked or dropped
  float least;
  int64_t most;
  CudaMaskPicks picks;
};

// A block per image: picks follow from one another.
template <int threads>
__global__ void __launch_bounds__(threads)
    soften_masks_kernel(const __grid_constant__ SoftMasks p, const DeviceScoreDecay decay) {
  KSEG_SHARED(winner, int64_t);
  const int64_t count_of_rows = p.per_image;
  for (int64_t image = blockIdx.x; image < p.ranked.images; image += gridDim.x) {
    const uint64_t* const keys = p.ranked.keys + image * p.ranked.places;
    float* const scores = p.scores + image * p.per_image;
    const int64_t count = p.ranked.counts[image];
    int64_t picked = 0, last = -1;
    while (picked < p.most) {
      uint64_t own_best = kNoKey;
      int64_t own_rank = 0;
      const float* const row = last < 0 ? nullptr : p.iou + (image * count_of_rows + last) * count_of_rows;
      for (int64_t i = threadIdx.x; i < count; i += threads) {
        float score = last < 0 ? key_score(keys[i]) : scores[i];
        if (score != 0.0f && row != nullptr) {
          const double overlap = static_cast<double>(row[i]);
          if (overlap > 0) score = decay(score, overlap * overlap);
          if (!(score > p.least)) score = 0.0f;
        }
        scores[i] = score;
        if (score == 0.0f) continue;
        const uint64_t key = candidate_key(score, key_number(keys[i]));
        if (key < own_best) {
          own_best = key;
          own_rank = i;
        }
      }
      const uint64_t best = block_reduce<threads>(own_best, Minimum());
      if (best == kNoKey) break;
      if (own_best == best) {  // keys differ: in one thread
        winner = own_rank;
        scores[own_rank] = 0.0f;
        p.picks.keys[image * p.most + picked] = best;
      }
      __syncthreads();
      last = winner;
      ++picked;
    }
    if (threadIdx.x == 0) p.picks.counts[image] = static_cast<int32_t>(picked);
    __syncthreads();
  }
}

struct MatrixMasks {
  RankedCuda ranked;
  int64_t per_image;
  const float* iou;
  float* most;  // [images, per_image]: the largest IoU with a better mask
  float* lowered;  // [images, per_image]: scores
};

// A warp for each mask.
template <class Work>
KSEG_DEVICE void for_masks(const MatrixMasks& p, const Work& work) {
  for (int64_t unit = static_cast<int64_t>(blockIdx.x) * kWarps + warp_index(); unit < p.ranked.images * p.per_image;
       unit += static_cast<int64_t>(gridDim.x) * kWarps) {
    const int64_t image = unit / p.per_image, own = unit % p.per_image;
    if (own < p.ranked.counts[image]) work(image, own, p.iou + unit * p.per_image);
  }
}

__global__ void __launch_bounds__(kThreads) most_overlap_kernel(const __grid_constant__ MatrixMasks p) {
  for_masks(p, [&](int64_t image, int64_t own, const float* row) {
    float most = 0.0f;
    for (int64_t other = lane_index(); other < own; other += kWarpSize) most = fmaxf(most, row[other]);
    most = warp_reduce(most, Maximum());
    if (lane_index() == 0) p.most[image * p.per_image + own] = most;
  });
}

__global__ void __launch_bounds__(kThreads)
    lower_kernel(const __grid_constant__ MatrixMasks p, const DeviceScoreDecay decay) {
  for_masks(p, [&](int64_t image, int64_t own, const float* row) {
    const float* const most = p.most + image * p.per_image;
    double exponent = 0;
    for (int64_t other = lane_index(); other < own; other += kWarpSize) {
      const double overlap = static_cast<double>(row[other]), its_most = static_cast<double>(most[other]);
      const double difference = overlap * overlap - its_most * its_most;
      exponent = difference > exponent ? difference : exponent;
    }
    exponent = warp_reduce(exponent, Maximum());
    if (lane_index() == 0) {
      const float score = key_score(p.ranked.keys[image * p.ranked.places + own]);
      p.lowered[image * p.per_image + own] = exponent > 0 ? decay(score, exponent) : score;
    }
  });
}

// Candidates are numbered by their ranks here; the keys hold the numbers that they had.
struct LoweredMaskKeys {
  MatrixMasks masks;
  float least;

  KSEG_DEVICE uint64_t operator()(int64_t image, int64_t rank) const {
    if (rank >= masks.ranked.counts[image]) return kNoKey;
    const float score = masks.lowered[image * masks.per_image + rank];
    if (!(score > least)) return kNoKey;
    return candidate_key(score, key_number(masks.ranked.keys[image * masks.ranked.places + rank]));
  }
};

}  // namespace

Status pick_masks_softly_cuda(const CudaRankedMasks& masks, float sigma, float least, int64_t most,
                              const CudaContext& context, CudaMaskPicks* picks) {
  const int64_t images = masks.ranked.images;
  SoftMasks p{};
  KSEG_RETURN_IF_ERROR(find_overlaps(masks, true, context, &p.iou));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * masks.per_image, &p.scores));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * most, &picks->keys));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images, &picks->counts));
  p.ranked = masks.ranked;
  p.per_image = masks.per_image;
  p.least = least;
  p.most = most;
  p.picks = *picks;
  const DeviceScoreDecay decay(sigma);
  constexpr int kFew = 128, kMany = 1024;
  return masks.per_image <= 2 * kFew
             ? launch(&soften_masks_kernel<kFew>, blocks_for(images, kFew), context, p, decay)
             : launch(&soften_masks_kernel<kMany>, blocks_for(images, kMany), context, p, decay);
}

Status rank_masks_by_matrix_cuda(const CudaRankedMasks& masks, float sigma, float least, const NmsPlan& plan,
                                 const CudaContext& context, RankedCuda* lowered) {
  const int64_t total = masks.ranked.images * masks.per_image;
  MatrixMasks p{};
  KSEG_RETURN_IF_ERROR(find_overlaps(masks, false, context, &p.iou));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(total, &p.most));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(total, &p.lowered));
  p.ranked = masks.ranked;
  p.per_image = masks.per_image;
  const LaunchShape shape = threads_for(total * kWarpSize, kThreads);
  KSEG_RETURN_IF_ERROR(launch(&most_overlap_kernel, shape, context, p));
  KSEG_RETURN_IF_ERROR(launch(&lower_kernel, shape, context, p, DeviceScoreDecay(sigma)));
  return rank_candidates(LoweredMaskKeys{p, least}, masks.ranked.images, masks.per_image, plan, context, lowered);
}

}  // namespace kseg
