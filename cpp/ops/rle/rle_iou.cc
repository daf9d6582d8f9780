#include "ops/rle/rle.h"

// Scalar code on runs: compiled once.

#include <algorithm>
#include <array>

namespace kseg {
namespace {

// The ones of a mask as intervals of positions, with what bounds them.
//
// Objects have one run in most columns. So the intervals are also kept by column, where that takes little memory: the
// first run of each column of the box in arrays that are compared without a branch, and the others in a list.
struct Intervals {
  std::vector<uint32_t> begins, ends;
  int64_t area = 0;
  std::array<int64_t, 4> box{};
  bool by_column = false;
  std::vector<int32_t> tops, bottoms;        // of the first run per column of the box, in rows; 0 and 0 for none
  std::vector<int64_t> more;                 // columns of the other runs, rising
  std::vector<int32_t> more_top, more_bottom;

  void assign(const Rle& rle) {
    begins.clear();
    ends.clear();
    area = 0;
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
    const int64_t columns = box[2] - box[0];
    by_column = columns <= 64 + 4 * static_cast<int64_t>(begins.size());
    if (by_column) split(rle.height, columns);
  }

 private:
  void split(int64_t height, int64_t columns) {
    tops.assign(static_cast<size_t>(columns), 0);
    bottoms.assign(static_cast<size_t>(columns), 0);
    more.clear();
    more_top.clear();
    more_bottom.clear();
    int64_t x = box[0];
    for (size_t i = 0; i < begins.size(); ++i) {
      while ((x + 1) * height <= begins[i]) ++x;
      for (int64_t begin = begins[i]; begin < ends[i]; begin = ++x * height) {
        const auto top = static_cast<int32_t>(begin - x * height);
        const auto bottom = static_cast<int32_t>(std::min<int64_t>(ends[i] - x * height, height));
        if (bottoms[x - box[0]] == 0) {
          tops[x - box[0]] = top;
          bottoms[x - box[0]] = bottom;
        } else {
          more.push_back(x);
          more_top.push_back(top);
          more_bottom.push_back(bottom);
        }
        if (ends[i] <= (x + 1) * height) break;  // the next run may begin in the same column
      }
    }
  }
};

int64_t overlap(int64_t top, int64_t bottom, int64_t other_top, int64_t other_bottom) {
  return std::max<int64_t>(0, std::min(bottom, other_bottom) - std::max(top, other_top));
}

// The other runs of `a` with the first runs of `b`.
int64_t others_with_first(const Intervals& a, const Intervals& b) {
  int64_t sum = 0;
  const size_t begin = std::lower_bound(a.more.begin(), a.more.end(), b.box[0]) - a.more.begin();
  for (size_t i = begin; i < a.more.size() && a.more[i] < b.box[2]; ++i) {
    const int64_t x = a.more[i] - b.box[0];
    sum += overlap(a.more_top[i], a.more_bottom[i], b.tops[x], b.bottoms[x]);
  }
  return sum;
}

// The other runs of both.
int64_t others_with_others(const Intervals& a, const Intervals& b) {
  int64_t sum = 0;
  for (size_t i = 0, j = 0; i < a.more.size() && j < b.more.size();) {
    if (a.more[i] == b.more[j]) {
      sum += overlap(a.more_top[i], a.more_bottom[i], b.more_top[j], b.more_bottom[j]);
      a.more_bottom[i] <= b.more_bottom[j] ? ++i : ++j;
    } else {
      a.more[i] < b.more[j] ? ++i : ++j;
    }
  }
  return sum;
}

int64_t intersection_by_column(const Intervals& a, const Intervals& b, int64_t left, int64_t right) {
  const int32_t* const a_top = a.tops.data() + (left - a.box[0]);
  const int32_t* const a_bottom = a.bottoms.data() + (left - a.box[0]);
  const int32_t* const b_top = b.tops.data() + (left - b.box[0]);
  const int32_t* const b_bottom = b.bottoms.data() + (left - b.box[0]);
  int32_t sum = 0;  // an image has fewer than 2**31 pixels
  for (int64_t x = 0; x < right - left; ++x) {
    sum += std::max(0, std::min(a_bottom[x], b_bottom[x]) - std::max(a_top[x], b_top[x]));
  }
  return sum + others_with_first(a, b) + others_with_first(b, a) + others_with_others(a, b);
}

int64_t intersection_by_position(const Intervals& a, const Intervals& b, uint32_t from, uint32_t to) {
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

int64_t intersection(const Intervals& a, const Intervals& b, int64_t height) {
  const int64_t left = std::max(a.box[0], b.box[0]), right = std::min(a.box[2], b.box[2]);
  if (left >= right || std::max(a.box[1], b.box[1]) >= std::min(a.box[3], b.box[3])) return 0;
  if (a.by_column && b.by_column) return intersection_by_column(a, b, left, right);
  // Only what lies in the columns of both boxes.
  return intersection_by_position(a, b, static_cast<uint32_t>(left * height), static_cast<uint32_t>(right * height));
}

// Masks of some neighbouring groups, and what is kept of them meanwhile.
struct Side {
  const char* name;
  const std::vector<RleSource>& sources;
  std::vector<Intervals> intervals = {};

  Status read(int64_t begin, int64_t end, const ParallelFor& parallel_for) {
    if (static_cast<int64_t>(intervals.size()) < end - begin) intervals.resize(static_cast<size_t>(end - begin));
    return for_each_rle(sources, begin, end, name, 0, parallel_for,
                        [&](int64_t i, const Rle& rle) { intervals[i - begin].assign(rle); });
  }
};

Status check_groups(const std::vector<RleSource>& a, const std::vector<RleSource>& b,
                    const std::vector<RleGroup>& groups) {
  for (const RleGroup& group : groups) {
    for (int64_t i = group.a_begin; i < group.a_end; ++i) {
      for (int64_t j = group.b_begin; j < group.b_end; ++j) {
        if (a[i].height != b[j].height || a[i].width != b[j].width) {
          return invalid_argument("a and b must have one size, got [", a[i].height, ", ", a[i].width, "] of a[", i,
                                  "] and [", b[j].height, ", ", b[j].width, "] of b[", j, "]");
        }
      }
    }
  }
  return Status();
}

}  // namespace

Status rle_iou(const std::vector<RleSource>& a, const std::vector<RleSource>& b, const std::vector<RleGroup>& groups,
               const uint8_t* is_crowd, double* output, const ParallelFor& parallel_for) {
  // Text that is read at once: what it becomes should stay in the cache until it has been compared.
  constexpr int64_t kMostText = 200000;
  struct Row {
    int64_t mask, group, output;
  };
  KSEG_RETURN_IF_ERROR(check_groups(a, b, groups));
  Side of_a{"a", a}, of_b{"b", b};
  std::vector<Row> rows;
  int64_t written = 0;
  for (size_t first = 0; first < groups.size();) {
    size_t stop = first;
    int64_t text = 0, pairs = 0;
    rows.clear();
    for (; stop < groups.size() && text < kMostText; ++stop) {
      const RleGroup& group = groups[stop];
      const int64_t columns = group.b_end - group.b_begin;
      for (int64_t i = group.a_begin; i < group.a_end; ++i) {
        text += a[i].length;
        rows.push_back({i, static_cast<int64_t>(stop), written + pairs});
        pairs += columns;
      }
      for (int64_t j = group.b_begin; j < group.b_end; ++j) text += b[j].length;
    }
    const int64_t a_first = groups[first].a_begin, b_first = groups[first].b_begin;
    KSEG_RETURN_IF_ERROR(of_a.read(a_first, groups[stop - 1].a_end, parallel_for));
    KSEG_RETURN_IF_ERROR(of_b.read(b_first, groups[stop - 1].b_end, parallel_for));
    const int64_t cost = 500 * (1 + pairs / std::max<int64_t>(1, static_cast<int64_t>(rows.size())));
    parallel_for.run(static_cast<int64_t>(rows.size()), cost, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const Intervals& mask = of_a.intervals[rows[row].mask - a_first];
        const RleGroup& group = groups[rows[row].group];
        const int64_t height = a[rows[row].mask].height;
        double* to = output + rows[row].output;
        for (int64_t j = group.b_begin; j < group.b_end; ++j) {
          const Intervals& other = of_b.intervals[j - b_first];
          const int64_t common = intersection(mask, other, height);
          const bool crowd = is_crowd != nullptr && is_crowd[j];
          const int64_t whole = crowd ? mask.area : mask.area + other.area - common;
          // A pair without pixels has an IoU of 0.
          *to++ = common == 0 ? 0.0 : static_cast<double>(common) / static_cast<double>(whole);
        }
      }
    });
    written += pairs;
    first = stop;
  }
  return Status();
}

}  // namespace kseg
