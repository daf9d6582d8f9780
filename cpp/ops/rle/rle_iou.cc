#include "ops/rle/rle.h"

// Scalar code on runs: compiled once.

#include <algorithm>
#include <array>

namespace kseg {
namespace {

// The ones of a mask as intervals of positions, with what bounds them.
struct Intervals {
  std::vector<uint32_t> begins, ends;
  int64_t area = 0;
  std::array<int64_t, 4> box{};

  explicit Intervals(const Rle& rle) {
    begins.reserve(rle.counts.size() / 2);
    ends.reserve(rle.counts.size() / 2);
    uint32_t position = 0;
    for (size_t i = 0; i < rle.counts.size(); ++i) {
      const uint32_t begin = position;
      position += rle.counts[i];
      if (i % 2 == 0 || position == begin) continue;
      begins.push_back(begin);
      ends.push_back(position);
      area += position - begin;
    }
    rle_box(rle, box.data());
  }
  Intervals() = default;
};

int64_t intersection(const Intervals& a, const Intervals& b, int64_t height) {
  const int64_t left = std::max(a.box[0], b.box[0]), right = std::min(a.box[2], b.box[2]);
  if (left >= right || std::max(a.box[1], b.box[1]) >= std::min(a.box[3], b.box[3])) return 0;
  // Only what lies in the columns of both boxes. Both masks have a run there, so that neither search comes back empty.
  const uint32_t from = static_cast<uint32_t>(left * height), to = static_cast<uint32_t>(right * height);
  const auto first = [&](const Intervals& of) {
    return static_cast<size_t>(std::upper_bound(of.ends.begin(), of.ends.end(), from) - of.ends.begin());
  };
  const auto stop = [&](const Intervals& of) {
    return static_cast<size_t>(std::lower_bound(of.begins.begin(), of.begins.end(), to) - of.begins.begin());
  };
  size_t i = first(a), j = first(b);
  const size_t i_stop = stop(a), j_stop = stop(b);
  int64_t sum = 0;
  while (i < i_stop && j < j_stop) {
    const uint32_t a_end = a.ends[i], b_end = b.ends[j];
    const int64_t common = int64_t{std::min(a_end, b_end)} - int64_t{std::max(a.begins[i], b.begins[j])};
    sum += std::max<int64_t>(common, 0);
    // Without a branch: which of the two ends first is as good as random.
    i += a_end <= b_end;
    j += b_end <= a_end;
  }
  return sum;
}

std::vector<Intervals> all_intervals(const std::vector<Rle>& rles, const ParallelFor& parallel_for) {
  std::vector<Intervals> intervals(rles.size());
  parallel_for.run(static_cast<int64_t>(rles.size()), 2000, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) intervals[i] = Intervals(rles[i]);
  });
  return intervals;
}

}  // namespace

Status rle_iou(const std::vector<Rle>& a, const std::vector<Rle>& b, const std::vector<RleGroup>& groups,
               const uint8_t* is_crowd, double* output, const ParallelFor& parallel_for) {
  struct Row {
    int64_t mask, b_begin, b_end, output;
  };
  std::vector<Row> rows;
  rows.reserve(a.size());
  int64_t written = 0;
  for (const RleGroup& group : groups) {
    for (int64_t i = group.a_begin; i < group.a_end; ++i) {
      for (int64_t j = group.b_begin; j < group.b_end; ++j) {
        if (a[i].height != b[j].height || a[i].width != b[j].width) {
          return invalid_argument("a and b must have one size, got [", a[i].height, ", ", a[i].width, "] of a[", i,
                                  "] and [", b[j].height, ", ", b[j].width, "] of b[", j, "]");
        }
      }
      rows.push_back({i, group.b_begin, group.b_end, written});
      written += group.b_end - group.b_begin;
    }
  }
  if (written == 0) return Status();
  const std::vector<Intervals> of_a = all_intervals(a, parallel_for), of_b = all_intervals(b, parallel_for);
  const int64_t cost = 1000 * (1 + written / static_cast<int64_t>(rows.size()));
  parallel_for.run(static_cast<int64_t>(rows.size()), cost, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const auto [mask, b_begin, b_end, first] = rows[row];
      for (int64_t j = b_begin; j < b_end; ++j) {
        const int64_t common = intersection(of_a[mask], of_b[j], a[mask].height);
        const bool crowd = is_crowd != nullptr && is_crowd[j];
        const int64_t whole = crowd ? of_a[mask].area : of_a[mask].area + of_b[j].area - common;
        // A pair without pixels has an IoU of 0.
        output[first + j - b_begin] = common == 0 ? 0.0 : static_cast<double>(common) / static_cast<double>(whole);
      }
    }
  });
  return Status();
}

}  // namespace kseg
