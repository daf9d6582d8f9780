#include "ops/rle/rle_bits.h"

// Scalar code on 64-bit words: compiled once.

#include <algorithm>
#include <cstring>

#include "ops/rle/rle.h"

namespace kseg {
namespace {

// An 8 x 8 matrix of bits, row i in byte i: exchanges bit j of byte i with bit i of byte j, in blocks of 1, 2 and 4.
inline uint64_t transpose8(uint64_t bits) {
  uint64_t swapped = (bits ^ (bits >> 7)) & 0x00AA00AA00AA00AAull;
  bits ^= swapped ^ (swapped << 7);
  swapped = (bits ^ (bits >> 14)) & 0x0000CCCC0000CCCCull;
  bits ^= swapped ^ (swapped << 14);
  swapped = (bits ^ (bits >> 28)) & 0x00000000F0F0F0F0ull;
  return bits ^ swapped ^ (swapped << 28);
}

// Up to eight bytes, the first one lowest.
inline uint64_t load_bytes(const uint8_t* from, int64_t count) {
  uint64_t value = 0;
  for (int64_t i = 0; i < count; ++i) value |= uint64_t{from[i]} << (8 * i);
  return value;
}

// Eight bytes at once; like the writing in rle_decode this takes the machine for little-endian, as all that are built
// for.
inline uint64_t load_bytes(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// Puts eight rows of eight columns in place.
inline void put_block(uint64_t rows, int64_t strip, int64_t column, ColumnBits* bits) {
  uint64_t* word = bits->words.data() + column * bits->stride + strip / 8;
  const uint64_t columns = transpose8(rows);
  const int shift = static_cast<int>(8 * (strip % 8));
  for (int i = 0; i < 8; ++i) word[i * bits->stride] |= ((columns >> (8 * i)) & 0xff) << shift;
}

// Sets the bits from `begin` up to `end` of a column.
inline void set_bits(uint64_t* words, int64_t begin, int64_t end) {
  if (begin >= end) return;
  const int64_t first = begin / 64, last = (end - 1) / 64;
  const uint64_t from = ~uint64_t{0} << (begin % 64);
  const uint64_t to = ~uint64_t{0} >> (63 - (end - 1) % 64);
  if (first == last) {
    words[first] |= from & to;
    return;
  }
  words[first] |= from;
  for (int64_t i = first + 1; i < last; ++i) words[i] = ~uint64_t{0};
  words[last] |= to;
}

}  // namespace

void ColumnBits::reset(int64_t new_height, int64_t new_width) {
  height = new_height;
  width = new_width;
  stride = (height + 63) / 64;
  words.assign(static_cast<size_t>((width + 7) / 8 * 8 * stride), 0);
}

void runs_to_columns(const uint32_t* counts, int64_t length, int64_t mask_height, const MaskWindow& window,
                     ColumnBits* bits) {
  bits->reset(window.height, window.width);
  if (window.height == 0 || window.width == 0) return;
  const int64_t stop = (window.left + window.width) * mask_height;
  int64_t position = 0;
  for (int64_t i = 0; i < length && position < stop; ++i) {
    const int64_t begin = position, end = position + counts[i];
    position = end;
    if (i % 2 == 0 || end <= window.left * mask_height || begin == end) continue;
    const int64_t first = std::max(begin / mask_height, window.left);
    const int64_t last = std::min((end - 1) / mask_height, window.left + window.width - 1);
    for (int64_t x = first; x <= last; ++x) {
      const int64_t top = x * mask_height + window.top;
      set_bits(bits->words.data() + (x - window.left) * bits->stride, std::max<int64_t>(begin - top, 0),
               std::min(end - top, window.height));
    }
  }
}

void columns_to_runs(const ColumnBits& bits, std::vector<uint32_t>* counts) {
  counts->clear();
  int64_t last = 0;
  uint64_t previous = 0;
  for (int64_t x = 0; x < bits.width; ++x) {
    const uint64_t* const column = bits.words.data() + x * bits.stride;
    for (int64_t i = 0; i < bits.stride; ++i) {
      const int64_t valid = std::min<int64_t>(64, bits.height - 64 * i);
      const uint64_t word = column[i];
      uint64_t changes = word ^ (word << 1 | previous);
      if (valid < 64) changes &= (uint64_t{1} << valid) - 1;
      for (; changes != 0; changes &= changes - 1) {
        const int64_t position = x * bits.height + 64 * i + __builtin_ctzll(changes);
        counts->push_back(static_cast<uint32_t>(position - last));
        last = position;
      }
      previous = word >> (valid - 1) & 1;
    }
  }
  counts->push_back(static_cast<uint32_t>(bits.width * bits.height - last));
}

void columns_to_packed(const ColumnBits& bits, int64_t row_bytes, uint8_t* rows) {
  for (int64_t byte = 0; byte < (bits.width + 7) / 8; ++byte) {
    const uint64_t* const columns = bits.words.data() + byte * 8 * bits.stride;
    for (int64_t i = 0; i < bits.stride; ++i) {
      uint64_t words[8], any = 0;
      for (int c = 0; c < 8; ++c) any |= words[c] = columns[c * bits.stride + i];
      if (any == 0) continue;
      for (int strip = 0; strip < 8; ++strip) {
        const int64_t y = 64 * i + 8 * strip;
        if (y >= bits.height) break;
        uint64_t block = 0;
        for (int c = 0; c < 8; ++c) block |= (words[c] >> (8 * strip) & 0xff) << (8 * c);
        if (block == 0) continue;
        block = transpose8(block);
        uint8_t* const to = rows + y * row_bytes + byte;
        const int64_t count = std::min<int64_t>(8, bits.height - y);
        for (int64_t r = 0; r < count; ++r) to[r * row_bytes] = static_cast<uint8_t>(block >> (8 * r));
      }
    }
  }
}

void packed_to_columns(const uint8_t* rows, int64_t row_bytes, int64_t height, int64_t width, ColumnBits* bits) {
  bits->reset(height, width);
  const int64_t bytes = (width + 7) / 8;
  for (int64_t y = 0; y < height; y += 8) {
    const int64_t count = std::min<int64_t>(8, height - y);
    for (int64_t byte = 0; byte < bytes; ++byte) {
      uint64_t block = 0;
      for (int64_t r = 0; r < count; ++r) block |= uint64_t{rows[(y + r) * row_bytes + byte]} << (8 * r);
      if (byte == bytes - 1 && width % 8 != 0) block &= 0x0101010101010101ull * ((1u << (width % 8)) - 1);
      if (block != 0) put_block(block, y / 8, byte * 8, bits);
    }
  }
}

void pixels_to_columns(const uint8_t* pixels, int64_t height, int64_t width, ColumnBits* bits) {
  bits->reset(height, width);
  const auto put = [&](const uint64_t (&values)[8], int64_t y, int64_t x) {
    uint64_t any = 0;
    for (const uint64_t value : values) any |= value;
    if (any == 0) return;
    uint64_t block = 0;
    for (int r = 0; r < 8; ++r) block |= uint64_t{nonzero_bytes(values[r])} << (8 * r);
    put_block(block, y / 8, x, bits);
  };
  for (int64_t y = 0; y < height; y += 8) {
    const uint8_t* const strip = pixels + y * width;
    int64_t x = 0;
    if (y + 8 <= height) {
      for (; x + 8 <= width; x += 8) {
        uint64_t values[8];
        for (int r = 0; r < 8; ++r) values[r] = load_bytes(strip + r * width + x);
        put(values, y, x);
      }
    }
    const int64_t rows = std::min<int64_t>(8, height - y);
    for (; x < width; x += 8) {
      uint64_t values[8] = {};
      for (int64_t r = 0; r < rows; ++r) {
        values[r] = load_bytes(strip + r * width + x, std::min<int64_t>(8, width - x));
      }
      put(values, y, x);
    }
  }
}

namespace {

Status check_packed(int64_t width, int64_t row_bytes) {
  if (width < 0 || width > kMostRlePixels || row_bytes != (width + 7) / 8) {
    return invalid_argument("width must be that of the packed masks, which have ", row_bytes, " bytes per row, got ",
                            width);
  }
  return Status();
}

template <class ToColumns>
Status encode(int64_t masks, int64_t height, int64_t width, const ToColumns& to_columns, std::vector<Rle>* rles,
              const ParallelFor& parallel_for) {
  const Status status = check_rle_size(height, width);
  if (!status.ok()) return invalid_argument("the size of masks ", status.message());
  rles->assign(static_cast<size_t>(masks), Rle());
  parallel_for.run(masks, height * width / 2 + 200, [&](int64_t begin, int64_t end) {
    ColumnBits bits;
    for (int64_t i = begin; i < end; ++i) {
      to_columns(i, &bits);
      Rle& rle = (*rles)[i];
      rle.height = height;
      rle.width = width;
      columns_to_runs(bits, &rle.counts);
    }
  });
  return Status();
}

Status check_sizes(const std::vector<RleSource>& rles, int64_t masks, int64_t height, int64_t width) {
  bool fits = static_cast<int64_t>(rles.size()) == masks;
  for (const RleSource& rle : rles) fits = fits && rle.height == height && rle.width == width;
  return fits ? Status() : invalid_argument("rles must have the size of the array that they are decoded into");
}

// Packed rows, all 0 before. Some columns at a time: those of a wide and low mask, of a word each or more, take many
// times the room of the mask.
void to_packed(const Rle& rle, int64_t row_bytes, uint8_t* rows) {
  constexpr int64_t kMostWords = int64_t{1} << 22;
  const int64_t words = std::max<int64_t>(1, (rle.height + 63) / 64);
  const int64_t most = std::max<int64_t>(8, kMostWords / words / 8 * 8);
  ColumnBits bits;
  for (int64_t left = 0; left < rle.width; left += most) {
    runs_to_columns(rle.counts.data(), static_cast<int64_t>(rle.counts.size()), rle.height,
                    {0, left, rle.height, std::min(most, rle.width - left)}, &bits);
    columns_to_packed(bits, row_bytes, rows + left / 8);
  }
}

}  // namespace

Status rle_encode(const View<const uint8_t, 3>& masks, std::vector<Rle>* rles, const ParallelFor& parallel_for) {
  const auto [count, height, width] = masks.shape;
  const uint8_t* const data = masks.data;
  return encode(
      count, height, width,
      [data, height = height, width = width](int64_t i, ColumnBits* bits) {
        pixels_to_columns(data + i * height * width, height, width, bits);
      },
      rles, parallel_for);
}

Status rle_encode_packed(const View<const uint8_t, 3>& packed, int64_t width, std::vector<Rle>* rles,
                         const ParallelFor& parallel_for) {
  const auto [count, height, row_bytes] = packed.shape;
  const uint8_t* const data = packed.data;
  KSEG_RETURN_IF_ERROR(check_packed(width, row_bytes));
  return encode(
      count, height, width,
      [data, height = height, row_bytes = row_bytes, width](int64_t i, ColumnBits* bits) {
        packed_to_columns(data + i * height * row_bytes, row_bytes, height, width, bits);
      },
      rles, parallel_for);
}

Status rle_decode_packed(const std::vector<RleSource>& rles, int64_t width, const View<uint8_t, 3>& packed,
                         const ParallelFor& parallel_for) {
  const auto [count, height, row_bytes] = packed.shape;
  KSEG_RETURN_IF_ERROR(check_packed(width, row_bytes));
  KSEG_RETURN_IF_ERROR(check_sizes(rles, count, height, width));
  const int64_t row = row_bytes, size = height * row_bytes;
  return for_each_rle(rles, 0, static_cast<int64_t>(rles.size()), "rles", 2 * size, parallel_for,
                      [&, row, size](int64_t i, const Rle& rle) {
                        if (size == 0) return;
                        std::memset(packed.data + i * size, 0, static_cast<size_t>(size));
                        to_packed(rle, row, packed.data + i * size);
                      });
}

Status rle_decode(const std::vector<RleSource>& rles, const View<uint8_t, 3>& masks, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_sizes(rles, masks.shape[0], masks.shape[1], masks.shape[2]));
  const int64_t height = masks.shape[1], width = masks.shape[2], row_bytes = (width + 7) / 8;
  return for_each_rle(
      rles, 0, static_cast<int64_t>(rles.size()), "rles", height * width, parallel_for, [&](int64_t i, const Rle& rle) {
        std::vector<uint8_t> packed(static_cast<size_t>(height * row_bytes));
        to_packed(rle, row_bytes, packed.data());
        for (int64_t y = 0; y < height; ++y) {
          const uint8_t* const from = packed.data() + y * row_bytes;
          uint8_t* const to = masks.data + (i * height + y) * width;
          int64_t x = 0;
          for (; x + 8 <= width; x += 8) {
            // Seven copies of the byte, shifted so that bit i is the lowest of byte i; then the same for the last bit.
            const uint64_t byte = from[x / 8];
            const uint64_t spread = ((byte & 0x7f) * 0x02040810204081ull & 0x0101010101010101ull) | (byte >> 7) << 56;
            std::memcpy(to + x, &spread, 8);
          }
          for (; x < width; ++x) to[x] = from[x / 8] >> (x % 8) & 1;
        }
      });
}

}  // namespace kseg
