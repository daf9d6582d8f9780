#include "ops/rle/rle.h"

// Scalar code on runs: compiled once.

#include <algorithm>
#include <cstddef>

namespace kseg {
namespace {

// Takes the next run length if the sum so far leaves room for it.
Status add_count(int64_t value, int64_t pixels, int64_t* total, Rle* rle) {
  if (value < 0) return invalid_argument("must not be negative, got ", value, " at position ", rle->counts.size());
  if (value > pixels - *total) {
    return invalid_argument("must sum to height * width = ", pixels, ", got more at position ", rle->counts.size());
  }
  *total += value;
  rle->counts.push_back(static_cast<uint32_t>(value));
  return Status();
}

Status check_total(int64_t total, int64_t pixels) {
  if (total == pixels) return Status();
  return invalid_argument("must sum to height * width = ", pixels, ", got ", total);
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

// Little-endian groups of five bits, 0x20 marking that more follow and 0x10 of the last one being the sign; characters
// start at '0'. From the fourth number on, the difference to the number two before.
Status rle_from_text(const char* text, int64_t length, Rle* rle) {
  constexpr int kMostBits = 35;  // seven groups hold every difference of two 32-bit numbers
  const int64_t pixels = rle->height * rle->width;
  int64_t total = 0;
  rle->counts.clear();
  for (int64_t i = 0; i < length;) {
    int64_t value = 0;
    int shift = 0;
    int group = 0x20;
    while (group & 0x20) {
      if (i == length) return invalid_argument("is truncated: it ends within a number");
      group = static_cast<unsigned char>(text[i]) - 48;
      if (group < 0 || group > 63) {
        return invalid_argument("must consist of the characters '0' to 'o', got code ",
                                static_cast<int>(static_cast<unsigned char>(text[i])), " at position ", i);
      }
      if (shift == kMostBits) return invalid_argument("holds a number that is too long at position ", i);
      value |= static_cast<int64_t>(group & 0x1f) << shift;
      shift += 5;
      ++i;
    }
    if (group & 0x10) value -= int64_t{1} << shift;
    if (rle->counts.size() > 2) value += rle->counts[rle->counts.size() - 2];
    KSEG_RETURN_IF_ERROR(add_count(value, pixels, &total, rle));
  }
  return check_total(total, pixels);
}

Status rle_from_counts(const int64_t* counts, int64_t length, Rle* rle) {
  const int64_t pixels = rle->height * rle->width;
  int64_t total = 0;
  rle->counts.clear();
  rle->counts.reserve(static_cast<size_t>(length));
  for (int64_t i = 0; i < length; ++i) KSEG_RETURN_IF_ERROR(add_count(counts[i], pixels, &total, rle));
  return check_total(total, pixels);
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
  int64_t left = rle.width, top = rle.height, right = 0, bottom = 0;
  int64_t position = 0;
  for (size_t i = 0; i < rle.counts.size(); ++i) {
    const int64_t begin = position;
    position += rle.counts[i];
    if (i % 2 == 0 || position == begin) continue;
    const int64_t first = begin / rle.height, last = (position - 1) / rle.height;
    left = std::min(left, first);
    right = std::max(right, last + 1);
    if (first != last) {  // the run goes on at the top of the next column
      top = 0;
      bottom = rle.height;
    } else {
      top = std::min(top, begin - first * rle.height);
      bottom = std::max(bottom, position - first * rle.height);
    }
  }
  if (right == 0) left = top = 0;
  corners[0] = left, corners[1] = top, corners[2] = right, corners[3] = bottom;
}

Status rle_merge(const Rle* rles, int64_t count, bool intersect, Rle* merged) {
  struct Event {
    uint32_t position;
    int32_t change;  // of the number of masks that cover what follows
  };
  std::vector<Event> events;
  for (int64_t i = 0; i < count; ++i) {
    const Rle& rle = rles[i];
    if (rle.height != rles[0].height || rle.width != rles[0].width) {
      return invalid_argument("must have one size, got [", rles[0].height, ", ", rles[0].width, "] and [", rle.height,
                              ", ", rle.width, "]");
    }
    uint32_t position = 0;
    for (size_t run = 0; run < rle.counts.size(); ++run) {
      if (run % 2 == 1 && rle.counts[run] > 0) {
        events.push_back({position, 1});
        events.push_back({position + rle.counts[run], -1});
      }
      position += rle.counts[run];
    }
  }
  std::sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.position < b.position; });
  merged->height = rles[0].height;
  merged->width = rles[0].width;
  merged->counts.clear();
  const int64_t needed = intersect ? count : 1;
  int64_t covering = 0;
  uint32_t last = 0;
  bool inside = false;
  for (size_t i = 0; i < events.size();) {
    const uint32_t position = events[i].position;
    for (; i < events.size() && events[i].position == position; ++i) covering += events[i].change;
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
