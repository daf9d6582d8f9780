// What suppression chooses from: the pairs of box and class of one image, handed out best first.
#ifndef KSEG_OPS_NMS_CANDIDATES_H_
#define KSEG_OPS_NMS_CANDIDATES_H_

#include <cstdint>
#include <vector>

namespace kseg {

// A candidate's number, row * classes + class, is an int32 to those who receive it.
inline constexpr int64_t kMostCandidates = INT32_MAX;

// Candidate `row * classes + class` has the score at that position.
struct NmsImage {
  int64_t rows = 0;
  int64_t classes = 1;
  const float* boxes = nullptr;  // x1 y1 x2 y2 of each row, or of each candidate
  bool boxes_per_class = false;
  const float* scores = nullptr;
  const int32_t* class_ids = nullptr;  // of each row, a negative one marking padding; only where classes == 1
  bool class_agnostic = false;

  const float* box(int64_t candidate) const { return boxes + 4 * (boxes_per_class ? candidate : candidate / classes); }
};

// Subnormal numbers are 0 in TensorFlow's threads and not in others: as 0 they are ranked alike everywhere. So is -0.
float without_subnormals(float value);

// Candidates whose score is above a threshold, in falling order of score, and of equal scores in rising order of
// number. Sorts as much as is asked for: who stops early pays little for the rest.
class RankedCandidates {
 public:
  // `above` has a bit for each score that is above the threshold, the lowest bit of a word first; a subnormal one may
  // count as itself or as 0. With `finite`, a score of infinity counts as the largest number.
  RankedCandidates(const NmsImage& image, float score_threshold, bool finite, const std::vector<uint32_t>& above);

  // Makes chunk() the next best candidates, about `wanted` of them; false if there are none left.
  bool next(int64_t wanted);

  // Best first; each holds its score and its number, and compares as an integer: the lower, the better.
  const std::vector<uint64_t>& chunk() const { return chunk_; }

  static uint64_t key(float score, uint32_t candidate);
  static uint32_t candidate(uint64_t key) { return static_cast<uint32_t>(key); }
  static float score(uint64_t key);

 private:
  std::vector<uint64_t> left_;  // in rising order of number
  std::vector<uint64_t> chunk_;
  std::vector<uint64_t> spare_;
};

// How candidates fall into groups that do not meet: by class, by class id in dense numbers, or all in one.
class Groups {
 public:
  explicit Groups(const NmsImage& image);
  int64_t count() const { return count_; }
  int32_t of(uint32_t candidate) const {
    if (!of_row_.empty()) return of_row_[candidate];
    return classes_ == 1 ? 0 : static_cast<int32_t>(candidate % static_cast<uint32_t>(classes_));
  }

 private:
  int64_t classes_;
  int64_t count_;
  std::vector<int32_t> of_row_;
};

}  // namespace kseg

#endif  // KSEG_OPS_NMS_CANDIDATES_H_
