// Mask NMS: candidates are ranked as boxes are (ops/nms/rank.cuh), their masks packed in that order (ops/mask_iou), and
// the overlaps of those whose spans meet counted, a warp for each pair. Hard suppression settles as that of boxes does
// (ops/nms/greedy.cu): rounds of at most 4096 masks, whose bits one block per image resolves.
//
// Reckoning: reading the masks and counting pixels are as in ops/mask_iou; 100 masks take some ten launches, 30 us.
#include <algorithm>
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "ops/mask_nms/mask_nms_check.h"
#include "ops/mask_nms/mask_nms_cuda.h"
#include "ops/mask_nms/mask_pairs.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 128;

struct MaskKeys {
  const float* scores;
  const int32_t* class_ids;
  int64_t per_image;
  bool bounded;
  float least;

  KSEG_DEVICE uint64_t operator()(int64_t image, int64_t number) const {
    const float score = plain_score(scores[image * per_image + number]);
    if (class_ids[image * per_image + number] == kPaddingClass || isnan(score)) return kNoKey;
    if (bounded && !(score > least)) return kNoKey;
    return candidate_key(score, static_cast<uint32_t>(number));
  }
};

struct MaskRound {
  CudaRankedMasks masks;
  CudaPicks picks;
  int64_t most;
  float threshold;
  int64_t first;
  int round;
  int splits;
  int per_warp;
  uint32_t* bits;
  uint32_t* dead;
};

// A warp compares a mask of a round with the better ones of the round and the picks before it, `per_warp` at a time, of
// which the warps of other splits take their share.
__global__ void __launch_bounds__(kThreads) mask_round_kernel(const __grid_constant__ MaskRound p) {
  constexpr int kWarps = kThreads / kWarpSize;
  const int64_t units = p.masks.ranked.images * p.round * p.splits;
  for (int64_t unit = static_cast<int64_t>(blockIdx.x) * kWarps + warp_index(); unit < units;
       unit += static_cast<int64_t>(gridDim.x) * kWarps) {
    const int64_t image = unit / p.splits / p.round;
    const int own = static_cast<int>(unit / p.splits % p.round);
    const int picked = p.picks.counts[image];
    if (picked >= p.most || p.first + own >= p.masks.ranked.counts[image]) continue;
    const int of_round = static_cast<int>(ceil_div(own, p.per_warp));
    const int turns = of_round + static_cast<int>(ceil_div(picked, p.per_warp));
    for (int turn = static_cast<int>(unit % p.splits); turn < turns; turn += p.splits) {
      const bool in_round = turn < of_round;
      const int begin = (in_round ? turn : turn - of_round) * p.per_warp, other = begin + lane_index();
      const bool there = lane_index() < p.per_warp && other < (in_round ? own : picked);
      int64_t rank = 0;
      if (there) rank = in_round ? p.first + other : p.picks.ranks[image * p.most + other];
      const float iou = overlap_of_lane(p.masks, image, p.first + own, rank, there);
      const unsigned drops = __ballot_sync(kFullMask, there && iou >= 0.0f && iou > p.threshold);
      if (drops == 0) continue;
      if (lane_index() == 0) {
        if (in_round) {
          atomicOr(&p.bits[(image * (p.round / kWarpSize) + begin / kWarpSize) * p.round + own],
                   drops << (begin % kWarpSize));
        } else {
          atomicOr(&p.dead[image * (p.round / kWarpSize) + own / kWarpSize], 1u << (own % kWarpSize));
        }
      }
      if (!in_round) break;
    }
    __syncwarp();
  }
}

Status suppress(const CudaRankedMasks& masks, float iou_threshold, int64_t most, const NmsPlan& plan,
                const CudaContext& context, CudaPicks* picks) {
  const int64_t images = masks.ranked.images, words = plan.round / kWarpSize;
  const int64_t in_round = std::min<int64_t>(plan.round, masks.per_image);
  MaskRound p{};
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images, &picks->counts));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * most, &picks->ranks));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * words * plan.round, &p.bits));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * words, &p.dead));
  KSEG_RETURN_IF_ERROR(fill_bytes(picks->counts, 0, images, context));
  KSEG_RETURN_IF_ERROR(fill_bytes(p.dead, 0, images * words, context));
  p.masks = masks;
  p.picks = *picks;
  p.most = most;
  p.threshold = iou_threshold;
  p.round = plan.round;
  p.per_warp = mask_pairs_per_warp(images * in_round * in_round / 2, multiprocessors());
  p.splits = static_cast<int>(ceil_div(in_round, p.per_warp));
  for (; p.first < masks.per_image; p.first += plan.round) {
    KSEG_RETURN_IF_ERROR(fill_bytes(p.bits, 0, images * words * plan.round, context));
    KSEG_RETURN_IF_ERROR(
        launch(&mask_round_kernel, threads_for(images * plan.round * p.splits * kWarpSize, kThreads), context, p));
    const CudaRound round{p.first, plan.round, p.bits, p.dead, nullptr, nullptr};
    KSEG_RETURN_IF_ERROR(settle_round_cuda(masks.ranked, round, {most, most}, *picks, context));
  }
  return Status();
}

// What has been picked: the keys `keys[image][ranks[image][i]]`, or without ranks the first of the keys.
struct PickedMasks {
  const uint64_t* keys;
  int64_t places;
  const int32_t* ranks;  // [images, most], or null
  const int32_t* counts;
  int64_t most;
};

__global__ void __launch_bounds__(256)
    write_masks_kernel(const __grid_constant__ PickedMasks picked, int64_t images, int64_t room, int32_t* indices,
                       float* scores, int32_t* num_valid) {
  const int64_t places = max(room, static_cast<int64_t>(1));
  for (int64_t i = global_thread(); i < images * places; i += global_threads()) {
    const int64_t image = i / places, place = i % places;
    const int64_t count = picked.counts == nullptr ? 0 : min(static_cast<int64_t>(picked.counts[image]), picked.most);
    if (place == 0) num_valid[image] = static_cast<int32_t>(count);
    if (room == 0) continue;
    int32_t index = -1;
    float score = 0.0f;
    if (place < count) {
      const int64_t at = picked.ranks == nullptr ? place : picked.ranks[image * picked.most + place];
      const uint64_t key = picked.keys[image * picked.places + at];
      index = static_cast<int32_t>(key_number(key));
      score = key_score(key);
    }
    indices[i] = index;
    scores[i] = score;
  }
}

Status pick(const MaskNmsInput& input, const MaskNmsOptions& options, int64_t most, const NmsPlan& plan,
            const CudaContext& context, PickedMasks* picked) {
  const auto [batch, count, height, row_bytes] = input.masks.shape;
  // A decay multiplies, which means something for positive scores only.
  const bool decays = options.kind != MaskNmsKind::kHard;
  float least = options.has_score_threshold ? options.score_threshold : 0.0f;
  if (decays) least = std::max(least, 0.0f);
  CudaRankedMasks masks{};
  masks.class_ids = input.class_ids.data;
  masks.per_image = count;
  const MaskKeys keys{input.scores.data, input.class_ids.data, count, options.has_score_threshold || decays, least};
  KSEG_RETURN_IF_ERROR(rank_candidates(keys, batch, count, plan, context, &masks.ranked));
  MaskStack stack;
  KSEG_RETURN_IF_ERROR(
      make_mask_stack("masks", input.masks.data, {batch * count, height, row_bytes}, options.width, &stack));
  if (!input.boxes.empty()) stack.boxes = input.boxes.data;
  KSEG_RETURN_IF_ERROR(pack_masks_cuda(stack, {masks.ranked.keys, masks.ranked.counts, masks.ranked.places, count},
                                       context, &masks.bits));
  CudaPicks picks;
  CudaMaskPicks softened;
  RankedCuda lowered;
  switch (options.kind) {
    case MaskNmsKind::kHard:
      KSEG_RETURN_IF_ERROR(suppress(masks, options.iou_threshold, most, plan, context, &picks));
      *picked = {masks.ranked.keys, masks.ranked.places, picks.ranks, picks.counts, most};
      break;
    case MaskNmsKind::kSoft:
      KSEG_RETURN_IF_ERROR(pick_masks_softly_cuda(masks, options.sigma, least, most, context, &softened));
      *picked = {softened.keys, most, nullptr, softened.counts, most};
      break;
    case MaskNmsKind::kMatrix:
      KSEG_RETURN_IF_ERROR(rank_masks_by_matrix_cuda(masks, options.sigma, least, plan, context, &lowered));
      *picked = {lowered.keys, lowered.places, nullptr, lowered.counts, most};
      break;
  }
  return Status();
}

}  // namespace

Status mask_nms_cuda(const MaskNmsInput& input, const MaskNmsOptions& options, const MaskNmsOutput& output,
                     const NmsPlan& plan, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_mask_nms(input, options));
  const int64_t batch = input.masks.shape[0], room = options.max_output_size;
  const Shape<2> expected = {batch, room};
  if (output.indices.shape != expected || output.scores.shape != expected || output.num_valid.shape[0] != batch) {
    return invalid_argument("the results must have shape ", to_string<2>(expected), ", got ",
                            to_string<2>(output.indices.shape));
  }
  const int64_t most = std::min(room, input.masks.shape[1]);
  PickedMasks picked{};
  if (most > 0) KSEG_RETURN_IF_ERROR(pick(input, options, most, plan, context, &picked));
  return launch(&write_masks_kernel, threads_for(batch * std::max<int64_t>(room, 1)), context, picked, batch, room,
                output.indices.data, output.scores.data, output.num_valid.data);
}

}  // namespace kseg
