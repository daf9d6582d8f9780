#include "ops/rle/rle.h"

// Scalar code on 64-bit words: compiled once.

#include <algorithm>

#include "ops/rle/rle_bits.h"

namespace kseg {
namespace {

// Writes runs from intervals of rising positions; those that touch become one.
class RunWriter {
 public:
  explicit RunWriter(std::vector<uint32_t>* counts) : counts_(*counts) { counts_.clear(); }

  void add(int64_t begin, int64_t end) {
    if (begin >= end) return;
    if (begin > end_) {
      flush();
      begin_ = begin;
    }
    end_ = end;
  }
  void finish(int64_t pixels) {
    flush();
    if (written_ < pixels || counts_.empty()) counts_.push_back(static_cast<uint32_t>(pixels - written_));
  }

 private:
  void flush() {
    if (begin_ == end_) return;
    counts_.push_back(static_cast<uint32_t>(begin_ - written_));
    counts_.push_back(static_cast<uint32_t>(end_ - begin_));
    written_ = end_;
  }

  std::vector<uint32_t>& counts_;
  int64_t begin_ = 0, end_ = 0, written_ = 0;
};

// Bit y becomes bit y + by; zeros come in.
inline uint64_t ahead(const uint64_t* words, int64_t i, int64_t stride, int64_t by) {
  const int64_t from = i + by / 64;
  const int shift = static_cast<int>(by % 64);
  const uint64_t low = from < stride ? words[from] >> shift : 0;
  return shift != 0 && from + 1 < stride ? low | words[from + 1] << (64 - shift) : low;
}
// Bit y becomes bit y - by.
inline uint64_t behind(const uint64_t* words, int64_t i, int64_t by) {
  const int64_t from = i - by / 64;
  const int shift = static_cast<int>(by % 64);
  const uint64_t high = from >= 0 ? words[from] << shift : 0;
  return shift != 0 && from >= 1 ? high | words[from - 1] >> (64 - shift) : high;
}

// Calls step(by) so that, with `x &= x moved by` each time, a place comes to stand for `wanted` places from it on.
template <class Step>
void double_up(int64_t wanted, const Step& step) {
  int64_t width = 1;
  for (; 2 * width <= wanted; width *= 2) step(width);
  if (wanted > width) step(wanted - width);
}

// Bit y of column x: whether bits y to y + 2 * reach of columns x to x + 2 * reach are all set.
void keep_squares(int64_t reach, ColumnBits* bits) {
  const int64_t stride = bits->stride, columns = bits->width;
  for (int64_t x = 0; x < columns; ++x) {
    uint64_t* const words = bits->words.data() + x * stride;
    // In place: what lies ahead is still as it was.
    double_up(2 * reach + 1, [&](int64_t by) {
      for (int64_t i = 0; i < stride; ++i) words[i] &= ahead(words, i, stride, by);
    });
  }
  double_up(2 * reach + 1, [&](int64_t by) {
    const int64_t kept = std::max<int64_t>(0, columns - by) * stride;
    uint64_t* const words = bits->words.data();
    for (int64_t i = 0; i < kept; ++i) words[i] &= words[i + by * stride];
    std::fill(words + kept, words + columns * stride, 0);
  });
}

// Hands on the runs of ones of a column, of which bit 0 is the pixel at `position`.
void add_column(const uint64_t* words, int64_t height, int64_t position, RunWriter* writer) {
  uint64_t previous = 0;
  int64_t begin = 0;
  for (int64_t i = 0; i * 64 < height; ++i) {
    const uint64_t word = words[i];
    for (uint64_t changes = word ^ (word << 1 | previous); changes != 0; changes &= changes - 1) {
      const int bit = __builtin_ctzll(changes);
      if (word >> bit & 1) {
        begin = 64 * i + bit;
      } else {
        writer->add(position + begin, position + 64 * i + bit);
      }
    }
    previous = word >> 63;
  }
  if (previous != 0) writer->add(position + begin, position + height);  // the height is a multiple of 64
}

}  // namespace

void rle_boundary(const Rle& rle, int64_t reach, Rle* boundary) {
  // Some columns at a time: those of a wide and low mask, of a word each, take many times the room of the mask.
  constexpr int64_t kMostWords = int64_t{1} << 20;
  const int64_t height = rle.height, pixels = rle.height * rle.width;
  boundary->height = rle.height;
  boundary->width = rle.width;
  RunWriter writer(&boundary->counts);
  int64_t box[4];
  rle_box(rle, box);
  const int64_t left = box[0], top = box[1], right = box[2], rows = box[3] - box[1];
  if (rows <= 2 * reach || right - left <= 2 * reach) {  // nothing is left of it
    int64_t position = 0;
    for (size_t i = 0; i < rle.counts.size(); ++i) {
      if (i % 2 == 1) writer.add(position, position + rle.counts[i]);
      position += rle.counts[i];
    }
    return writer.finish(pixels);
  }
  const auto length = static_cast<int64_t>(rle.counts.size());
  const int64_t stride = (rows + 63) / 64;
  const int64_t step = std::max(kMostWords / stride, 4 * reach);
  ColumnBits mask, squares;
  std::vector<uint64_t> column(static_cast<size_t>(stride));
  for (int64_t begin = left; begin < right; begin += step) {
    const int64_t end = std::min(begin + step, right);
    // With what lies around, as far as that is in the mask's box; beyond, there is nothing.
    const int64_t from = std::max(begin - reach, left), to = std::min(end + reach, right);
    runs_to_columns(rle.counts.data(), length, height, {top, from, rows, to - from}, &mask);
    squares = mask;
    keep_squares(reach, &squares);
    for (int64_t x = begin; x < end; ++x) {
      const uint64_t* const whole = mask.words.data() + (x - from) * stride;
      const int64_t square = x - reach - from;
      const uint64_t* const inside = square >= 0 ? squares.words.data() + square * stride : nullptr;
      for (int64_t i = 0; i < stride; ++i) {
        column[i] = inside == nullptr ? whole[i] : whole[i] & ~behind(inside, i, reach);
      }
      add_column(column.data(), rows, x * height + top, &writer);
    }
  }
  writer.finish(pixels);
}

}  // namespace kseg
