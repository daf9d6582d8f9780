#include "ops/nms/candidates.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace kseg {
namespace {

constexpr size_t kSample = 512;
constexpr size_t kWorthRadix = 256;

// By the upper 32 bits, in three stable passes; the numbers in the lower ones are in order already.
void sort_keys(std::vector<uint64_t>* keys, std::vector<uint64_t>* spare) {
  const size_t count = keys->size();
  if (count < kWorthRadix) {
    std::sort(keys->begin(), keys->end());
    return;
  }
  constexpr int kBits = 11;
  constexpr size_t kBuckets = size_t{1} << kBits;
  std::array<std::array<uint32_t, kBuckets>, 3> starts{};
  for (const uint64_t key : *keys) {
    for (int pass = 0; pass < 3; ++pass) ++starts[pass][key >> (32 + pass * kBits) & (kBuckets - 1)];
  }
  spare->resize(count);
  for (int pass = 0; pass < 3; ++pass) {
    auto& start = starts[pass];
    uint32_t sum = 0;
    bool one_bucket = false;
    for (uint32_t& entry : start) {
      one_bucket |= entry == count;
      const uint32_t size = entry;
      entry = sum;
      sum += size;
    }
    if (one_bucket) continue;
    for (const uint64_t key : *keys) (*spare)[start[key >> (32 + pass * kBits) & (kBuckets - 1)]++] = key;
    keys->swap(*spare);
  }
}

}  // namespace

float without_subnormals(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return (bits & 0x7fffffffu) < 0x00800000u ? 0.0f : value;
}

uint64_t RankedCandidates::key(float score, uint32_t candidate) {
  uint32_t bits;
  std::memcpy(&bits, &score, sizeof bits);
  const uint32_t falling = bits >> 31 ? bits : ~bits & 0x7fffffffu;
  return static_cast<uint64_t>(falling) << 32 | candidate;
}

float RankedCandidates::score(uint64_t key) {
  const uint32_t falling = static_cast<uint32_t>(key >> 32);
  const uint32_t bits = falling >> 31 ? falling : ~falling & 0x7fffffffu;
  float score;
  std::memcpy(&score, &bits, sizeof score);
  return score;
}

RankedCandidates::RankedCandidates(const NmsImage& image, float score_threshold, bool finite,
                                   const std::vector<uint32_t>& above) {
  const float threshold = without_subnormals(score_threshold);
  const float most = finite ? std::numeric_limits<float>::max() : std::numeric_limits<float>::infinity();
  size_t kept = 0;
  for (size_t word = 0; word < above.size(); ++word) {
    if (left_.size() < kept + 32) left_.resize(2 * left_.size() + 32);
    for (uint32_t bits = above[word]; bits != 0; bits &= bits - 1) {
      const size_t i = 32 * word + static_cast<size_t>(__builtin_ctz(bits));
      const float score = without_subnormals(image.scores[i]);
      left_[kept] = key(std::min(score, most), static_cast<uint32_t>(i));
      kept += score > threshold && (image.class_ids == nullptr || image.class_ids[i] >= 0);
    }
  }
  left_.resize(kept);
}

bool RankedCandidates::next(int64_t wanted) {
  chunk_.clear();
  if (left_.empty()) return false;
  const size_t count = left_.size();
  const size_t take = static_cast<size_t>(std::max<int64_t>(wanted, 1));
  if (count <= 2 * kSample || take >= count / 2) {
    chunk_.swap(left_);
  } else {
    // A sample says below which key about so many lie. Keys differ, so that at least `at` of them do.
    std::array<uint64_t, kSample> sample;
    for (size_t i = 0; i < kSample; ++i) sample[i] = left_[i * count / kSample];
    std::sort(sample.begin(), sample.end());
    const size_t at = std::min(kSample - 1, 4 + take * kSample / count * 9 / 8);
    const uint64_t bound = sample[at];
    chunk_.resize(count);
    size_t below = 0;
    size_t others = 0;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t key = left_[i];
      chunk_[below] = key;
      left_[others] = key;
      below += key < bound;
      others += key >= bound;
    }
    chunk_.resize(below);
    left_.resize(others);
  }
  sort_keys(&chunk_, &spare_);
  return true;
}

Groups::Groups(const NmsImage& image) : classes_(image.class_agnostic ? 1 : image.classes), count_(classes_) {
  if (image.class_ids == nullptr || image.class_agnostic) return;
  const int32_t* const ids = image.class_ids;
  const int64_t rows = image.rows;
  int64_t most = 0;
  for (int64_t row = 0; row < rows; ++row) most = std::max<int64_t>(most, ids[row]);
  of_row_.resize(rows);
  if (most < 4 * rows + 1024) {
    count_ = most + 1;
    for (int64_t row = 0; row < rows; ++row) of_row_[row] = std::max(ids[row], 0);  // a negative one is no candidate
    return;
  }
  std::vector<int32_t> known(ids, ids + rows);
  std::sort(known.begin(), known.end());
  known.erase(std::unique(known.begin(), known.end()), known.end());
  count_ = static_cast<int64_t>(known.size());
  for (int64_t row = 0; row < rows; ++row) {
    of_row_[row] = static_cast<int32_t>(std::lower_bound(known.begin(), known.end(), ids[row]) - known.begin());
  }
}

}  // namespace kseg
