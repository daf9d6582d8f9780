// Suppression in order of score, for one image. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_NMS_GREEDY_H_
#define KSEG_OPS_NMS_GREEDY_H_

#include "ops/nms/box_cells.h"

KSEG_KERNEL_BEGIN

// A candidate of the block in work.
struct Contender {
  uint32_t candidate;
  int32_t group;
  bool alive;
  PreparedBox box;
  BoxPlace tested;  // it has been compared with its group's list up to here (where there are no cells)
};

constexpr int64_t kLeastBlock = 128;
constexpr int64_t kMostBlock = 512;
constexpr int64_t kCellBlock = 256;
// So many picks of one group are worth sorting into cells, if more are to come.
constexpr int64_t kWorthCells = 1024;

// Picks up to `most` candidates, and of each group up to `most_per_group`. Candidates go through in blocks: all of a
// block are compared with what had been picked before it, side by side, and then with one another, in order.
// What is picked does not depend on how blocks are cut, nor on where boxes are kept.
class Greedy {
 public:
  Greedy(const NmsImage& image, float iou_threshold, int64_t most, int64_t most_per_group)
      : image_(image),
        groups_(image),
        threshold_(iou_threshold < 0x1p-126f ? 0x1p-126f : iou_threshold),
        factor_(share_factor(iou_threshold)),
        most_(most),
        most_per_group_(most_per_group),
        lists_(groups_.count()),
        per_group_(most_per_group < most ? groups_.count() : 0),
        block_(kMostBlock) {}

  int64_t pick(RankedCandidates* ranked, uint64_t* picks, const ParallelFor& parallel_for) {
    for (int64_t wanted = most_ < 256 ? 512 : 2 * (most_ < 4096 ? most_ : 4096);
         picked_ < most_ && ranked->next(wanted); wanted *= 2) {
      const std::vector<uint64_t>& chunk = ranked->chunk();
      const int64_t count = static_cast<int64_t>(chunk.size());
      for (int64_t first = 0; first < count && picked_ < most_;) {
        const int64_t left = count - first;
        const int64_t size = block_size() < left ? block_size() : left;
        pick_from(chunk.data() + first, size, picks, parallel_for);
        first += size;
        if (cells_ == nullptr && groups_.count() == 1 && lists_.size(0) >= kWorthCells) make_cells();
      }
    }
    return picked_;
  }

 private:
  int64_t block_size() const {
    if (cells_ != nullptr) return kCellBlock;
    const int64_t share = picked_ / 4;
    return share < kLeastBlock ? kLeastBlock : share > kMostBlock ? kMostBlock : share;
  }

  bool full(int32_t group) const { return !per_group_.empty() && per_group_[group] >= most_per_group_; }

  void pick_from(const uint64_t* keys, int64_t size, uint64_t* picks, const ParallelFor& parallel_for) {
    // Some cycles for each vector of what the group has, on average, and some for the box itself.
    const int64_t vectors = cells_ != nullptr ? BoxCells::kCells / kLanesF * 3 : picked_ / groups_.count() / kLanesF;
    parallel_for.run(size, 40 + 8 * vectors, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) test(keys[i], &block_[i]);
    });
    for (int64_t i = 0; i < size && picked_ < most_; ++i) {
      const Contender& contender = block_[i];
      if (!contender.alive || full(contender.group)) continue;
      if (contender.box.overlaps) {
        const BoxPlace rest = contender.tested.chunk < 0 ? lists_.begin(contender.group) : contender.tested;
        if (exceeded(lists_, rest, contender.box, threshold_)) continue;
        lists_.add(contender.group, contender.box);
        if (cells_ != nullptr) fresh_.push_back(contender.box);
      }
      if (!per_group_.empty()) ++per_group_[contender.group];
      picks[picked_++] = keys[i];
    }
    if (cells_ == nullptr) return;
    for (const PreparedBox& box : fresh_) cells_->add(box);
    fresh_.clear();
    lists_.clear();
  }

  void test(uint64_t key, Contender* contender) const {
    contender->candidate = RankedCandidates::candidate(key);
    contender->group = groups_.of(contender->candidate);
    contender->alive = !full(contender->group);
    if (!contender->alive) return;
    contender->box = prepare_box(image_.box(contender->candidate), factor_);
    contender->tested = lists_.end(contender->group);
    if (!contender->box.overlaps) return;
    contender->alive = cells_ != nullptr
                           ? !cells_->exceeded_by(contender->box)
                           : !exceeded(lists_, lists_.begin(contender->group), contender->box, threshold_);
  }

  // From here on the list holds the picks of one block only.
  void make_cells() {
    lists_.for_each(0, [&](const PreparedBox& box) { fresh_.push_back(box); });
    cells_.reset(new BoxCells(fresh_.data(), static_cast<int64_t>(fresh_.size()), threshold_));
    for (const PreparedBox& box : fresh_) cells_->add(box);
    fresh_.clear();
    lists_.clear();
  }

  const NmsImage& image_;
  const Groups groups_;
  const float threshold_;
  const float factor_;
  const int64_t most_;
  const int64_t most_per_group_;
  int64_t picked_ = 0;
  BoxLists lists_;
  std::vector<int64_t> per_group_;
  std::vector<Contender> block_;
  std::vector<PreparedBox> fresh_;
  std::unique_ptr<BoxCells> cells_;
};

KSEG_KERNEL_END

#endif  // KSEG_OPS_NMS_GREEDY_H_
