// Suppression in order of score, for one image. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_NMS_GREEDY_H_
#define KSEG_OPS_NMS_GREEDY_H_

#include "ops/nms/box_lists.h"

KSEG_KERNEL_BEGIN

// A candidate of the block in work.
struct Contender {
  uint32_t candidate;
  int32_t group;
  bool alive;
  PreparedBox box;
  BoxPlace tested;  // it has been compared with its group's list up to here
};

constexpr int64_t kLeastBlock = 128;
constexpr int64_t kMostBlock = 512;

// Picks up to `most` candidates, and of each group up to `most_per_group`. Candidates go through in blocks: all of a
// block are compared with what had been picked before it, side by side, and then with one another, in order.
// What is picked does not depend on how blocks are cut.
inline int64_t pick_greedily(const NmsImage& image, RankedCandidates* ranked, float iou_threshold, int64_t most,
                             int64_t most_per_group, uint64_t* picks, const ParallelFor& parallel_for) {
  const Groups groups(image);
  const float factor = share_factor(iou_threshold);
  const float threshold = iou_threshold < 0x1p-126f ? 0x1p-126f : iou_threshold;
  BoxLists lists(groups.count());
  std::vector<int64_t> per_group(most_per_group < most ? groups.count() : 0);
  std::vector<Contender> block(kMostBlock);
  int64_t picked = 0;
  for (int64_t wanted = most < 256 ? 512 : 2 * (most < 4096 ? most : 4096); picked < most && ranked->next(wanted);
       wanted *= 2) {
    const std::vector<uint64_t>& chunk = ranked->chunk();
    const int64_t count = static_cast<int64_t>(chunk.size());
    for (int64_t first = 0; first < count && picked < most;) {
      int64_t size = picked / 4 < kLeastBlock ? kLeastBlock : picked / 4 > kMostBlock ? kMostBlock : picked / 4;
      size = size < count - first ? size : count - first;
      const uint64_t* keys = chunk.data() + first;
      const auto test = [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          Contender& contender = block[i];
          contender.candidate = RankedCandidates::candidate(keys[i]);
          contender.group = groups.of(contender.candidate);
          contender.alive = per_group.empty() || per_group[contender.group] < most_per_group;
          if (!contender.alive) continue;
          contender.box = prepare_box(image.box(contender.candidate), factor);
          contender.tested = lists.end(contender.group);
          contender.alive = !contender.box.overlaps ||
                            !exceeded(lists, lists.begin(contender.group), contender.box, threshold);
        }
      };
      // Some cycles for each vector of what the group has, on average, and some for the box itself.
      parallel_for.run(size, 40 + 8 * (picked / groups.count()) / kLanesF, test);
      for (int64_t i = 0; i < size && picked < most; ++i) {
        const Contender& contender = block[i];
        if (!contender.alive) continue;
        if (!per_group.empty() && per_group[contender.group] >= most_per_group) continue;
        if (contender.box.overlaps) {
          const BoxPlace rest = contender.tested.chunk < 0 ? lists.begin(contender.group) : contender.tested;
          if (exceeded(lists, rest, contender.box, threshold)) continue;
          lists.add(contender.group, contender.box);
        }
        if (!per_group.empty()) ++per_group[contender.group];
        picks[picked++] = keys[i];
      }
      first += size;
    }
  }
  return picked;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_NMS_GREEDY_H_
