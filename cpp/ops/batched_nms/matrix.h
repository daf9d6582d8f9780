// Matrix NMS of one image (Wang et al. 2020, "SOLOv2"): the decay of every candidate at once, from its overlaps with
// all better ones of its group and from theirs with better ones still. Opens the target as base/kernel.h does, so it is
// included last.
#ifndef KSEG_OPS_BATCHED_NMS_MATRIX_H_
#define KSEG_OPS_BATCHED_NMS_MATRIX_H_

#include "ops/batched_nms/decay.h"

KSEG_KERNEL_BEGIN

struct Decayed {
  uint64_t key;
  int32_t group;
  PreparedBox box;
  BoxPlace place;  // in the list of its group
};

// Calls visit(iou, compensation) with the vectors of the boxes before `place` that overlap `box`; 0 where there is no
// overlap.
template <class Visit>
KSEG_INLINE void for_better(const BoxLists& lists, int64_t group, BoxPlace place, const PreparedBox& box,
                            Visit&& visit) {
  const BoxVectors vectors(box);
  VecI numbers;
  for (int lane = 0; lane < kLanesF; ++lane) numbers[lane] = lane;
  for (int64_t index = lists.begin(group).chunk;; index = lists.chunk(index).next) {
    const BoxChunk& chunk = lists.chunk(index);
    const bool last = index == place.chunk;
    const int32_t end = last ? place.offset : kChunkBoxes;
    for (int32_t at = 0; at < end; at += kLanesF) {
      VecF intersection = larger(vectors.intersection(chunk, at), VecF{});
      if (at + kLanesF > end) intersection = (VecF)((VecI)intersection & (numbers < splat(end - at)));
      if (lanes_above(intersection, VecF{}) == 0) continue;
      visit(vectors.iou(intersection, chunk, at), load(chunk.extra + at));
    }
    if (last) return;
  }
}

KSEG_INLINE float largest_iou(const BoxLists& lists, const Decayed& candidate) {
  VecF most{};
  for_better(lists, candidate.group, candidate.place, candidate.box,
             [&](VecF iou, VecF) __attribute__((always_inline)) { most = larger(iou, most); });
  return largest_lane(most);
}

// The least of exp(-iou^2 / sigma) / exp(-compensation^2 / sigma), where `extra` holds the squared compensation.
KSEG_INLINE float gaussian_matrix_decay(const BoxLists& lists, const Decayed& candidate, float inverse_sigma) {
  VecF most{};
  for_better(lists, candidate.group, candidate.place, candidate.box,
             [&](VecF iou, VecF compensation)
                 __attribute__((always_inline)) { most = larger(settled(iou * iou) - compensation, most); });
  return gaussian_decay(largest_lane(most), inverse_sigma);
}

// The least of (1 - iou) / (1 - compensation), where `extra` holds that denominator; 0 of it means no decay.
KSEG_INLINE float linear_matrix_decay(const BoxLists& lists, const Decayed& candidate) {
  const VecF one = splat(1.0f);
  VecF least = one;
  for_better(lists, candidate.group, candidate.place, candidate.box,
             [&](VecF iou, VecF remaining) __attribute__((always_inline)) {
               least = smaller((one - iou) / remaining, least);  // not so for NaN, which is 0 / 0
             });
  return smallest_lane(least);
}

constexpr int64_t kLeastMatrixBlock = 256;
constexpr int64_t kMostMatrixBlock = 4096;

// In falling order of score, block by block. A candidate's final score is not above its first one: once there are
// enough final scores at or above those to come, the rest cannot matter.
inline int64_t pick_by_matrix(const NmsImage& image, RankedCandidates* ranked, const BatchedNmsOptions& options,
                              float score_threshold, int64_t most_per_group, uint64_t* picks,
                              const ParallelFor& parallel_for) {
  const bool gaussian = options.method == NmsMethod::kMatrixGaussian;
  const float inverse_sigma = 1.0f / options.sigma;
  const int64_t most = options.max_output_size;
  const Groups groups(image);
  BoxLists lists(groups.count());
  std::vector<Decayed> block;
  std::vector<uint64_t> finals;
  int64_t picked = 0;
  int64_t size = kLeastMatrixBlock;
  int64_t seen = 0;
  for (int64_t wanted = 4 * kLeastMatrixBlock; ranked->next(wanted); wanted *= 2) {
    const std::vector<uint64_t>& chunk = ranked->chunk();
    const int64_t count = static_cast<int64_t>(chunk.size());
    for (int64_t first = 0; first < count;) {
      if (picked == most && chunk[first] > picks[most - 1]) return picked;
      const int64_t in_block = size < count - first ? size : count - first;
      block.resize(in_block);
      for (int64_t i = 0; i < in_block; ++i) {
        Decayed& candidate = block[i];
        candidate.key = chunk[first + i];
        const uint32_t number = RankedCandidates::candidate(candidate.key);
        candidate.group = groups.of(number);
        candidate.box = prepare_box(image.box(number), 0.0f);
        if (candidate.box.overlaps) candidate.place = lists.add(candidate.group, candidate.box);
      }
      const int64_t cost = 40 + 12 * ((seen + in_block) / groups.count()) / kLanesF;
      parallel_for.run(in_block, cost, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          if (!block[i].box.overlaps) continue;
          const float most_iou = largest_iou(lists, block[i]);
          float& extra = lists.chunk(block[i].place.chunk).extra[block[i].place.offset];
          extra = gaussian ? most_iou * most_iou : 1.0f - most_iou;
        }
      });
      parallel_for.run(in_block, cost, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          Decayed& candidate = block[i];
          if (!candidate.box.overlaps) continue;
          const float decay =
              gaussian ? gaussian_matrix_decay(lists, candidate, inverse_sigma) : linear_matrix_decay(lists, candidate);
          const uint32_t number = RankedCandidates::candidate(candidate.key);
          candidate.key = RankedCandidates::key(RankedCandidates::score(candidate.key) * decay, number);
        }
      });
      for (const Decayed& candidate : block) {
        if (RankedCandidates::score(candidate.key) > score_threshold) finals.push_back(candidate.key);
      }
      picked = select_best(&finals, groups, most, most_per_group, picks);
      first += in_block;
      seen += in_block;
      size = 2 * size < kMostMatrixBlock ? 2 * size : kMostMatrixBlock;
    }
  }
  return picked;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_BATCHED_NMS_MATRIX_H_
