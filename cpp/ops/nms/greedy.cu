// Ranking and greedy suppression of boxes.
//
// Reckoning for 8 images of 12,000 boxes of which 1000 are kept, on an H200 (132 multiprocessors, 1.7 GHz): the keys
// are sorted in 192 tiles of 512 (45 steps of some 120 cycles) and merged by 23 binary searches for each key, out of L1
// and L2: 10 us in two launches. A round of 4096 makes 8.4 million pairs an image, 67 million in all at some 15
// instructions each: 40 us if all multiprocessors are busy, for which there are 2048 blocks; the bits are 16 MB that
// stay in L2. Settling a round reads half of an image's 2 MB in one multiprocessor, at 64 bytes a cycle 10 us, and
// takes some turns of 32 words for each 1024 candidates: 30 us. Where the picks are complete, what is still queued
// returns at once, some 3 us a launch. In all 0.1 ms; 0.25 ms if all three rounds are needed.
#include <cstdint>
#include <limits>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "ops/nms/box.cuh"
#include "ops/nms/rank.cuh"
#include "ops/nms/ranked_cuda.h"

namespace kseg {
namespace {

constexpr int kPairThreads = 128;  // candidates of a tile, and of those that it is compared with
constexpr int kTileWords = kPairThreads / kWarpSize;
constexpr int kMostSettlers = 1024;
constexpr int kMostWords = kMostSettlers / kWarpSize;

struct ImageKeys {
  CudaNmsImages images;

  KSEG_DEVICE uint64_t operator()(int64_t image, int64_t number) const {
    const float score = plain_score(images.scores[image * images.candidates() + number]);
    if (!(score > images.score_threshold)) return kNoKey;
    if (images.class_ids != nullptr && images.class_ids[image * images.rows + number] < 0) return kNoKey;
    return candidate_key(fminf(score, images.most_score), static_cast<uint32_t>(number));
  }
};

__global__ void __launch_bounds__(256) prepare_kernel(const CudaNmsImages images, const RankedCuda ranked, bool shapes,
                                                      float factor, const CudaRankedBoxes boxes) {
  const int64_t total = images.images * ranked.places;
  for (int64_t i = global_thread(); i < total; i += global_threads()) {
    const int64_t image = i / ranked.places;
    if (i % ranked.places >= ranked.counts[image]) continue;
    const int64_t number = key_number(ranked.keys[i]);
    const int64_t row = number / images.classes;
    const int64_t sets = images.boxes_per_class ? images.classes : 1;
    const int64_t set = images.boxes_per_class ? number % images.classes : 0;
    DeviceBox box{make_float4(0.0f, 0.0f, 0.0f, 0.0f), 0.0f, 0.0f};
    if (shapes) box = prepare_box(images.boxes + 4 * ((image * images.rows + row) * sets + set), factor);
    reinterpret_cast<float4*>(boxes.corners)[i] = box.corners;
    reinterpret_cast<float2*>(boxes.areas)[i] = make_float2(box.area, box.share);
    boxes.groups[i] = images.class_agnostic         ? 0
                      : images.class_ids != nullptr ? images.class_ids[image * images.rows + row]
                                                    : static_cast<int32_t>(number % images.classes);
  }
}

struct PairsOfRound {
  RankedCuda ranked;
  CudaRankedBoxes boxes;
  CudaPicks picks;
  int64_t most;
  float threshold;
  int64_t first;
  int round;
  int splits;  // blocks that share the candidates to compare a tile with
  uint32_t* bits;
  uint32_t* dead;
  int32_t* same;
};

// Candidates of a round, a thread for each, against the better ones of the round and the picks before it.
template <bool counts_groups>
__global__ void __launch_bounds__(kPairThreads) pairs_kernel(const __grid_constant__ PairsOfRound p) {
  KSEG_SHARED(corners, float4[kPairThreads]);
  KSEG_SHARED(areas, float2[kPairThreads]);
  KSEG_SHARED(groups, int32_t[kPairThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const int tiles = p.round / kPairThreads;
  const int64_t units = p.ranked.images * tiles * p.splits;
  const float4* const all_corners = reinterpret_cast<const float4*>(p.boxes.corners);
  const float2* const all_areas = reinterpret_cast<const float2*>(p.boxes.areas);
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int split = static_cast<int>(unit % p.splits);
    const int own_tile = static_cast<int>(unit / p.splits % tiles);
    const int64_t image = unit / p.splits / tiles;
    const int64_t count = p.ranked.counts[image] - p.first;  // from this round on
    const int picked = p.picks.counts[image];
    if (picked >= p.most || own_tile * kPairThreads >= count) continue;
    const int64_t base = image * p.ranked.places + p.first;  // where the round begins
    const int i = own_tile * kPairThreads + thread;
    float4 own = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float2 own_area = make_float2(0.0f, 0.0f);
    int32_t own_group = 0;
    if (i < count) {
      own = all_corners[base + i];
      own_area = all_areas[base + i];
      own_group = p.boxes.groups[base + i];
    }
    bool dead = false;
    int same = 0;
    const int turns = own_tile + 1 + static_cast<int>(ceil_div(picked, kPairThreads));
    for (int turn = split; turn < turns; turn += p.splits) {
      const bool in_round = turn <= own_tile;
      const int other = (in_round ? turn : turn - own_tile - 1) * kPairThreads + thread;
      const bool there = in_round ? other < count : other < picked;
      __syncthreads();  // the tile of before has been compared with
      if (there) {
        const int64_t at = in_round ? base + other : base - p.first + p.picks.ranks[image * p.most + other];
        corners[thread] = all_corners[at];
        areas[thread] = all_areas[at];
        groups[thread] = p.boxes.groups[at];
      } else {
        corners[thread] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        areas[thread] = make_float2(0.0f, 0.0f);
        groups[thread] = 0;
      }
      __syncthreads();
      const auto drops = [&](int j) {
        const float4 box = corners[j];
        const float2 area = areas[j];
        const float intersection = box_intersection(own, box);
        if (!may_exceed(intersection, own_area.y, area.y) || groups[j] != own_group) return false;
        return box_iou(intersection, own_area.x, area.x) > p.threshold;
      };
      if (in_round) {
        for (int word = 0; word < kTileWords; ++word) {
          uint32_t bits = 0;
#pragma unroll 8
          for (int bit = 0; bit < kWarpSize; ++bit) {
            if (drops(word * kWarpSize + bit)) bits |= 1u << bit;
          }
          // Of the own tile only those before.
          const int before = turn < own_tile ? kWarpSize : thread - word * kWarpSize;
          if (before < kWarpSize) bits &= before <= 0 ? 0u : (1u << before) - 1u;
          p.bits[(image * (p.round / kWarpSize) + turn * kTileWords + word) * p.round + i] = bits;
        }
      } else {
        const int valid = min(picked - (turn - own_tile - 1) * kPairThreads, kPairThreads);
        if (counts_groups) {
          for (int j = 0; j < valid; ++j) same += groups[j] == own_group ? 1 : 0;
        }
        for (int j = 0; j < valid && !dead; ++j) dead = drops(j);
      }
    }
    const unsigned killed = __ballot_sync(kFullMask, dead);
    if (killed != 0 && lane_index() == 0) {
      atomicOr(&p.dead[image * (p.round / kWarpSize) + i / kWarpSize], killed);
    }
    if (counts_groups && same != 0) atomicAdd(&p.same[image * p.round + i], same);
  }
}

struct Settling {
  RankedCuda ranked;
  CudaRound round;
  CudaPickLimits limits;
  CudaPicks picks;
};

// Bits set in the words before the own warp's, and in the own one before the own lane.
KSEG_DEVICE int bits_before(const uint32_t* words) {
  int sum = __popc(words[warp_index()] & ((1u << lane_index()) - 1u));
  for (int word = 0; word < warp_index(); ++word) sum += __popc(words[word]);
  return sum;
}
KSEG_DEVICE int bits_in(const uint32_t* words, int count) {
  int sum = 0;
  for (int word = 0; word < count; ++word) sum += __popc(words[word]);
  return sum;
}

// A block per image and a thread per candidate, as many at a time as there are threads. All that no open candidate may
// still drop is picked, and what is picked drops, in turns until none is open: the first open one always is settled.
__global__ void __launch_bounds__(kMostSettlers) settle_kernel(const __grid_constant__ Settling p) {
  KSEG_DYNAMIC_SHARED(picked_groups, int32_t);  // of the round, in order; only where groups are limited
  KSEG_SHARED(kept, uint32_t[4096 / kWarpSize + kMostWords]);
  KSEG_SHARED(open, uint32_t[kMostWords]);
  KSEG_SHARED(accepted, uint32_t[kMostWords]);
  const int threads = static_cast<int>(blockDim.x), warps = threads / kWarpSize;
  const int thread = static_cast<int>(threadIdx.x), warp = warp_index();
  const int round = p.round.round, words = round / kWarpSize;
  for (int64_t image = blockIdx.x; image < p.ranked.images; image += gridDim.x) {
    const int64_t left = p.ranked.counts[image] - p.round.first;
    const uint32_t* const bits = p.round.bits + image * words * round;
    uint32_t* const dead = p.round.dead + image * words;
    int32_t* const same = p.round.same == nullptr ? nullptr : p.round.same + image * round;
    int picked = p.picks.counts[image];
    int in_list = 0;
    __syncthreads();  // everybody knows how many there are
    for (int first = 0; first < min(static_cast<int64_t>(round), left) && picked < p.limits.most; first += threads) {
      const int i = first + thread;
      bool undecided = i < left && (dead[i / kWarpSize] >> lane_index() & 1u) == 0;
      uint32_t earlier = 0;
#pragma unroll 8
      for (int word = 0; word < first / kWarpSize; ++word) {
        earlier |= bits[static_cast<int64_t>(word) * round + i] & kept[word];
      }
      undecided = undecided && earlier == 0;
      uint32_t better[kMostWords];
      const int own_word = first / kWarpSize;
#pragma unroll
      for (int word = 0; word < kMostWords; ++word) {
        better[word] = undecided && word <= warp ? bits[static_cast<int64_t>(own_word + word) * round + i] : 0u;
      }
      bool keep = false;
      unsigned vote = __ballot_sync(kFullMask, undecided);
      if (lane_index() == 0) {
        open[warp] = vote;
        kept[own_word + warp] = 0;
      }
      while (__syncthreads_or(undecided)) {
        uint32_t drops = 0, may_drop = 0;
        if (undecided) {
#pragma unroll
          for (int word = 0; word < kMostWords; ++word) {
            if (word < warps) {
              drops |= better[word] & kept[own_word + word];
              may_drop |= better[word] & open[word];
            }
          }
        }
        keep = keep || (undecided && drops == 0 && may_drop == 0);
        undecided = undecided && drops == 0 && may_drop != 0;
        const unsigned keeps = __ballot_sync(kFullMask, keep);
        vote = __ballot_sync(kFullMask, undecided);
        __syncthreads();  // everybody has read
        if (lane_index() == 0) {
          open[warp] = vote;
          kept[own_word + warp] = keeps;
        }
      }
      bool accept = keep;
      if (same != nullptr) {
        const int at = in_list + bits_before(kept + own_word);
        if (keep) picked_groups[at] = p.round.groups[image * p.ranked.places + p.round.first + i];
        in_list += bits_in(kept + own_word, warps);
        __syncthreads();
        if (keep) {
          int64_t of_group = same[i];
          for (int other = 0; other < at; ++other) of_group += picked_groups[other] == picked_groups[at] ? 1 : 0;
          accept = of_group < p.limits.most_per_group;
        }
      }
      vote = __ballot_sync(kFullMask, accept);
      if (lane_index() == 0) accepted[warp] = vote;
      __syncthreads();
      const int64_t at = picked + bits_before(accepted);
      if (accept && at < p.limits.most) {
        p.picks.ranks[image * p.limits.most + at] = static_cast<int32_t>(p.round.first + i);
      }
      picked = static_cast<int>(min(p.limits.most, static_cast<int64_t>(picked) + bits_in(accepted, warps)));
      __syncthreads();  // everybody has read
    }
    if (thread == 0) p.picks.counts[image] = picked;
    for (int word = thread; word < words; word += threads) dead[word] = 0;
    if (same != nullptr) {
      for (int i = thread; i < round; i += threads) same[i] = 0;
    }
  }
}

}  // namespace

Status rank_boxes_cuda(const CudaNmsImages& images, const NmsPlan& plan, const CudaContext& context,
                       RankedCuda* ranked) {
  return rank_candidates(ImageKeys{images}, images.images, images.candidates(), plan, context, ranked);
}

Status prepare_boxes_cuda(const CudaNmsImages& images, const RankedCuda& ranked, bool shapes, float factor,
                          const CudaContext& context, CudaRankedBoxes* boxes) {
  const int64_t total = images.images * ranked.places;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(4 * total, &boxes->corners));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(2 * total, &boxes->areas));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(total, &boxes->groups));
  return launch(&prepare_kernel, threads_for(total), context, images, ranked, shapes, factor, *boxes);
}

Status settle_round_cuda(const RankedCuda& ranked, const CudaRound& round, const CudaPickLimits& limits,
                         const CudaPicks& picks, const CudaContext& context) {
  const bool limited = round.same != nullptr;
  const int64_t shared_bytes = limited ? round.round * static_cast<int64_t>(sizeof(int32_t)) : 0;
  return launch(&settle_kernel, blocks_for(ranked.images, std::min(round.round, kMostSettlers), shared_bytes), context,
                Settling{ranked, round, limits, picks});
}

Status pick_greedily_cuda(const RankedCuda& ranked, const CudaRankedBoxes& boxes, int64_t candidates,
                          float iou_threshold, const CudaPickLimits& limits, const NmsPlan& plan,
                          const CudaContext& context, CudaPicks* picks) {
  const int64_t images = ranked.images, words = plan.round / kWarpSize;
  const bool limited = limits.most_per_group < limits.most;
  PairsOfRound pairs{};
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images, &picks->counts));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * limits.most, &picks->ranks));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * words * plan.round, &pairs.bits));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * words, &pairs.dead));
  KSEG_RETURN_IF_ERROR(fill_bytes(picks->counts, 0, images, context));
  KSEG_RETURN_IF_ERROR(fill_bytes(pairs.dead, 0, images * words, context));
  if (limited) {
    KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * plan.round, &pairs.same));
    KSEG_RETURN_IF_ERROR(fill_bytes(pairs.same, 0, images * plan.round, context));
  }
  pairs.ranked = ranked;
  pairs.boxes = boxes;
  pairs.picks = *picks;
  pairs.most = limits.most;
  pairs.threshold = iou_threshold < 0x1p-126f ? 0x1p-126f : iou_threshold;
  pairs.round = plan.round;
  const int64_t tiles = plan.round / kPairThreads;
  const int64_t wanted = ceil_div(16 * int64_t{multiprocessors()}, std::max<int64_t>(images * tiles, 1));
  pairs.splits = static_cast<int>(std::clamp<int64_t>(wanted, 1, tiles));
  for (int64_t first = 0; first < candidates && limits.most > 0; first += plan.round) {
    pairs.first = first;
    KSEG_RETURN_IF_ERROR(launch(limited ? &pairs_kernel<true> : &pairs_kernel<false>,
                                blocks_for(images * tiles * pairs.splits, kPairThreads), context, pairs));
    const CudaRound round{first, plan.round, pairs.bits, pairs.dead, pairs.same, boxes.groups};
    KSEG_RETURN_IF_ERROR(settle_round_cuda(ranked, round, limits, *picks, context));
  }
  return Status();
}

}  // namespace kseg
