// Soft-NMS of one image (Bodla et al. 2017): every pick lowers the scores of what it overlaps. Opens the target as
// base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_BATCHED_NMS_SOFT_H_
#define KSEG_OPS_BATCHED_NMS_SOFT_H_

#include "ops/batched_nms/decay.h"

KSEG_KERNEL_BEGIN

// A candidate with the decays of the first picks of its group applied, up to `applied`.
struct Softened {
  float score;
  int32_t group;
  int64_t applied_count;
  BoxPlace applied;
  PreparedBox box;
};

// Applies the decays of the picks from candidate->applied on, one by one in their order.
inline void soften(const BoxLists& lists, bool gaussian, float iou_threshold, float inverse_sigma,
                   Softened* candidate) {
  const BoxVectors vectors(candidate->box);
  const BoxPlace place = candidate->applied.chunk < 0 ? lists.begin(candidate->group) : candidate->applied;
  float score = candidate->score;
  int32_t at = place.offset & ~(kLanesF - 1);
  uint32_t done = (1u << (place.offset - at)) - 1;
  alignas(KSEG_VECTOR_BYTES) float ious[kLanesF];
  for (int64_t index = place.chunk; index >= 0; index = lists.chunk(index).next, at = 0) {
    const BoxChunk& chunk = lists.chunk(index);
    for (; at < kChunkBoxes; at += kLanesF) {
      const VecF intersection = vectors.intersection(chunk, at);
      uint32_t lanes = lanes_above(intersection, vectors.share + load(chunk.share + at)) & ~done;
      done = 0;
      if (lanes == 0) continue;
      store(ious, vectors.iou(intersection, chunk, at));
      for (; lanes != 0; lanes &= lanes - 1) {
        const float iou = ious[__builtin_ctz(lanes)];
        if (gaussian) {
          score = settled(score * gaussian_decay(settled(iou * iou), inverse_sigma));
        } else if (iou > iou_threshold) {
          score = settled(score * (1.0f - iou));
        }
      }
    }
  }
  candidate->score = score;
  candidate->applied = lists.end(candidate->group);
  candidate->applied_count = lists.size(candidate->group);
}

// Decays never raise a score. So a candidate is only brought up to date when it leads with the score that it last had,
// and is the next pick if it still leads then.
inline int64_t pick_softly(const NmsImage& image, RankedCandidates* ranked, const BatchedNmsOptions& options,
                           float score_threshold, int64_t most_per_group, uint64_t* picks) {
  const bool gaussian = options.method == NmsMethod::kGaussian;
  const float inverse_sigma = 1.0f / options.sigma;
  const float iou_threshold = options.iou_threshold < kLeastScore ? kLeastScore : options.iou_threshold;
  const float factor = gaussian ? 0.0f : share_factor(iou_threshold);
  const int64_t most = options.max_output_size;
  const Groups groups(image);
  BoxLists lists(groups.count());
  std::vector<int64_t> per_group(most_per_group < most ? groups.count() : 0);
  std::vector<Softened> softened;
  std::vector<uint32_t> free_slots;
  Heap heap;
  int64_t picked = 0;
  int64_t wanted = most < 256 ? 512 : 2 * most;
  size_t at = 0;
  bool more = ranked->next(wanted);
  while (picked < most) {
    if (more && at == ranked->chunk().size()) {
      more = ranked->next(wanted *= 2);
      at = 0;
    }
    if (!more && heap.empty()) break;
    const bool fresh = more && (heap.empty() || ranked->chunk()[at] < heap.top().key);
    const uint64_t key = fresh ? ranked->chunk()[at++] : heap.top().key;
    const uint32_t number = RankedCandidates::candidate(key);
    Softened candidate;
    if (fresh) {
      candidate = {RankedCandidates::score(key), groups.of(number), 0, {}, prepare_box(image.box(number), factor)};
    } else {
      const uint32_t slot = heap.pop().slot;
      candidate = softened[slot];
      free_slots.push_back(slot);
    }
    if (!per_group.empty() && per_group[candidate.group] >= most_per_group) continue;
    if (candidate.box.overlaps && candidate.applied_count < lists.size(candidate.group)) {
      soften(lists, gaussian, iou_threshold, inverse_sigma, &candidate);
      if (!(candidate.score > score_threshold)) continue;
      const uint64_t now = RankedCandidates::key(candidate.score, number);
      if (now != key) {
        if (free_slots.empty()) {
          free_slots.push_back(static_cast<uint32_t>(softened.size()));
          softened.emplace_back();
        }
        softened[free_slots.back()] = candidate;
        heap.push({now, free_slots.back()});
        free_slots.pop_back();
        continue;
      }
    }
    if (candidate.box.overlaps) lists.add(candidate.group, candidate.box);
    if (!per_group.empty()) ++per_group[candidate.group];
    picks[picked++] = key;
  }
  return picked;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_BATCHED_NMS_SOFT_H_
