#include "ops/rle/rle.h"

// Scalar code on runs: compiled once.

#include <algorithm>
#include <cstddef>
#include <mutex>

namespace kseg {
namespace {

Status out_of_range(int64_t value, int64_t pixels, int64_t position) {
  if (value < 0) return invalid_argument("must not be negative, got ", value, " at position ", position);
  return invalid_argument("must sum to height * width = ", pixels, ", got more at position ", position);
}

Status check_total(int64_t missing, int64_t pixels) {
  if (missing == 0) return Status();
  return invalid_argument("must sum to height * width = ", pixels, ", got ", pixels - missing);
}

// Little-endian groups of five bits, 0x20 marking that more follow and 0x10 of the last one being the sign; characters
// start at '0'. From the fourth number on, the difference to the number two before.
Status from_text(const char* text, int64_t length, Rle* rle) {
  constexpr int kMostBits = 35;  // seven groups hold every difference of two 32-bit numbers
  const int64_t pixels = rle->height * rle->width;
  int64_t missing = pixels;
  rle->counts.resize(static_cast<size_t>(length));  // no more numbers than characters
  uint32_t* const counts = rle->counts.data();
  int64_t size = 0;
  for (int64_t i = 0; i < length;) {
    int group = static_cast<unsigned char>(text[i]) - 48;
    int64_t value;
    if (static_cast<unsigned>(group) < 0x20) {  // most numbers have one group
      value = group - ((group & 0x10) << 1);
      ++i;
    } else {
      value = 0;
      int shift = 0;
      do {
        if (i == length) return invalid_argument("is truncated: it ends within a number");
        group = static_cast<unsigned char>(text[i]) - 48;
        if (group < 0 || group > 63) {
          return invalid_argument("must consist of the characters '0' to 'o', got code ", group + 48, " at position ",
                                  i);
        }
        if (shift == kMostBits) return invalid_argument("holds a number that is too long at position ", i);
        value |= static_cast<int64_t>(group & 0x1f) << shift;
        shift += 5;
        ++i;
      } while (group & 0x20);
      if (group & 0x10) value -= int64_t{1} << shift;
    }
    if (size > 2) value += counts[size - 2];
    if (value < 0 || value > missing) return out_of_range(value, pixels, size);
    missing -= value;
    counts[size++] = static_cast<uint32_t>(value);
  }
  rle->counts.resize(static_cast<size_t>(size));
  return check_total(missing, pixels);
}

Status from_counts(const int64_t* counts, int64_t length, Rle* rle) {
  const int64_t pixels = rle->height * rle->width;
  int64_t missing = pixels;
  rle->counts.resize(static_cast<size_t>(length));
  for (int64_t i = 0; i < length; ++i) {
    if (counts[i] < 0 || counts[i] > missing) return out_of_range(counts[i], pixels, i);
    missing -= counts[i];
    rle->counts[i] = static_cast<uint32_t>(counts[i]);
  }
  return check_total(missing, pixels);
}

}  // namespace

Status check_rle_size(int64_t height, int64_t width) {
  if (height < 0 || width < 0) {
    return invalid_argument("must not be negative, got [", height, ", ", width, "]");
  }
  if (height > kMostRlePixels || width > kMostRlePixels || (width > 0 && height > kMostRlePixels / width)) {
    return invalid_argument("must be at most ", kMostRlePixels, " pixels, got [", height, ", ", width, "]");
  }
  return Status();
}

Status read_rle(const RleSource& source, Rle* rle) {
  Status status = check_rle_size(source.height, source.width);
  if (!status.ok()) return invalid_argument("size ", status.message());
  rle->height = source.height;
  rle->width = source.width;
  status = source.text != nullptr ? from_text(source.text, source.length, rle)
                                  : from_counts(source.counts, source.length, rle);
  return status.ok() ? status : invalid_argument("counts ", status.message());
}

Status for_each_rle(const std::vector<RleSource>& sources, int64_t begin, int64_t end, const char* argument,
                    int64_t cost, const ParallelFor& parallel_for,
                    const std::function<void(int64_t index, const Rle& rle)>& visit) {
  std::mutex mutex;
  int64_t first_wrong = end;
  std::string problem;
  parallel_for.run(end - begin, cost + 2000, [&](int64_t piece_begin, int64_t piece_end) {
    Rle rle;
    for (int64_t i = begin + piece_begin; i < begin + piece_end; ++i) {
      const Status status = read_rle(sources[i], &rle);
      if (!status.ok()) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (i < first_wrong) {
          first_wrong = i;
          problem = status.message();
        }
        return;
      }
      visit(i, rle);
    }
  });
  if (problem.empty()) return Status();
  return invalid_argument(argument, "[", first_wrong, "] ", problem);
}

std::string rle_to_text(const Rle& rle) {
  std::string text;
  text.reserve(rle.counts.size() * 2);
  for (size_t i = 0; i < rle.counts.size(); ++i) {
    int64_t value = rle.counts[i];
    if (i > 2) value -= rle.counts[i - 2];
    bool more = true;
    while (more) {
      const int group = static_cast<int>(value & 0x1f);
      value >>= 5;  // arithmetic, so that a negative number ends as -1
      more = (group & 0x10) ? value != -1 : value != 0;
      text.push_back(static_cast<char>((group | (more ? 0x20 : 0)) + 48));
    }
  }
  return text;
}

int64_t rle_area(const Rle& rle) {
  int64_t area = 0;
  for (size_t i = 1; i < rle.counts.size(); i += 2) area += rle.counts[i];
  return area;
}

void rle_box(const Rle& rle, int64_t* corners) {
  const int64_t height = rle.height;
  int64_t left = rle.width, top = height, right = 0, bottom = 0;
  int64_t position = 0;
  int64_t column = 0, column_begin = 0;  // the one that the last run ended in
  // Runs follow each other from column to column: a division for each would take longer than all the rest.
  const auto advance_to = [&](int64_t pixel) {
    if (pixel >= column_begin + 2 * height) {
      column = pixel / height;
      column_begin = column * height;
    } else if (pixel >= column_begin + height) {
      ++column;
      column_begin += height;
    }
  };
  for (size_t i = 0; i < rle.counts.size(); ++i) {
    const int64_t begin = position;
    position += rle.counts[i];
    if (i % 2 == 0 || position == begin) continue;
    advance_to(begin);
    left = std::min(left, column);
    top = std::min(top, begin - column_begin);
    if (position > column_begin + height) {  // the run goes on at the top of the next column
      top = 0;
      bottom = height;
      advance_to(position - 1);
    } else {
      bottom = std::max(bottom, position - column_begin);
    }
    right = column + 1;
  }
  if (right == 0) left = top = 0;
  corners[0] = left, corners[1] = top, corners[2] = right, corners[3] = bottom;
}

Status rle_merge(const Rle* rles, int64_t count, bool intersect, Rle* merged) {
  // Where a mask begins or ends, as position * 2 + 1 or position * 2: numbers sort faster than structures.
  std::vector<uint64_t> events;
  size_t runs = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (rles[i].height != rles[0].height || rles[i].width != rles[0].width) {
      return invalid_argument("must have one size, got [", rles[0].height, ", ", rles[0].width, "] and [",
                              rles[i].height, ", ", rles[i].width, "]");
    }
    runs += rles[i].counts.size();
  }
  events.reserve(runs);
  for (int64_t i = 0; i < count; ++i) {
    uint64_t position = 0;
    bool one = false;
    for (const uint32_t run : rles[i].counts) {
      if (one && run > 0) {
        events.push_back(2 * position + 1);
        events.push_back(2 * (position + run));
      }
      position += run;
      one = !one;
    }
  }
  std::sort(events.begin(), events.end());
  merged->height = rles[0].height;
  merged->width = rles[0].width;
  merged->counts.clear();
  const int64_t needed = intersect ? count : 1;
  int64_t covering = 0;
  uint32_t last = 0;
  bool inside = false;
  for (size_t i = 0; i < events.size();) {
    const uint32_t position = static_cast<uint32_t>(events[i] / 2);
    for (; i < events.size() && events[i] / 2 == position; ++i) covering += events[i] % 2 ? 1 : -1;
    if ((covering >= needed) != inside) {
      inside = !inside;
      merged->counts.push_back(position - last);
      last = position;
    }
  }
  const uint32_t pixels = static_cast<uint32_t>(merged->height * merged->width);
  if (last < pixels || merged->counts.empty()) merged->counts.push_back(pixels - last);
  return Status();
}

}  // namespace kseg
