// The best of candidates whose scores are final.
#ifndef KSEG_OPS_BATCHED_NMS_SELECTION_H_
#define KSEG_OPS_BATCHED_NMS_SELECTION_H_

#include <cstdint>
#include <vector>

#include "ops/nms/candidates.h"

namespace kseg {

// Sorts `keys` and copies the best to `picks`, up to `most` and of each group up to `most_per_group`; returns how many.
int64_t select_best(std::vector<uint64_t>* keys, const Groups& groups, int64_t most, int64_t most_per_group,
                    uint64_t* picks);

// Candidates with scores that still may fall, the best on top.
class Heap {
 public:
  struct Entry {
    uint64_t key;
    uint32_t slot;
  };
  bool empty() const { return entries_.empty(); }
  const Entry& top() const { return entries_.front(); }
  void push(Entry entry);
  Entry pop();

 private:
  std::vector<Entry> entries_;
};

}  // namespace kseg

#endif  // KSEG_OPS_BATCHED_NMS_SELECTION_H_
