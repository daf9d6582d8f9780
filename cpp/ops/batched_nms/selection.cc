#include "ops/batched_nms/selection.h"

#include <algorithm>

namespace kseg {

int64_t select_best(std::vector<uint64_t>* keys, const Groups& groups, int64_t most, int64_t most_per_group,
                    uint64_t* picks) {
  std::sort(keys->begin(), keys->end());
  std::vector<int64_t> per_group(most_per_group < most ? groups.count() : 0);
  int64_t picked = 0;
  for (const uint64_t key : *keys) {
    if (picked == most) break;
    if (!per_group.empty()) {
      int64_t& of_group = per_group[groups.of(RankedCandidates::candidate(key))];
      if (of_group == most_per_group) continue;
      ++of_group;
    }
    picks[picked++] = key;
  }
  return picked;
}

namespace {
bool worse(const Heap::Entry& a, const Heap::Entry& b) { return a.key > b.key; }
}  // namespace

void Heap::push(Entry entry) {
  entries_.push_back(entry);
  std::push_heap(entries_.begin(), entries_.end(), worse);
}

Heap::Entry Heap::pop() {
  std::pop_heap(entries_.begin(), entries_.end(), worse);
  const Entry entry = entries_.back();
  entries_.pop_back();
  return entry;
}

}  // namespace kseg
