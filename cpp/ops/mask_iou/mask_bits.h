// Cropping masks and counting what two have in common. Opens the target as kernel.h does, so it is included last.
#ifndef KSEG_OPS_MASK_IOU_MASK_BITS_H_
#define KSEG_OPS_MASK_IOU_MASK_BITS_H_

#include <algorithm>
#include <vector>

#include "ops/mask_iou/cropped_mask.h"
#include "ops/mask_iou/mask_iou.h"
#include "ops/mask_iou/mask_window.h"

#include "base/kernel.h"

KSEG_KERNEL_BEGIN

// Bit i says whether byte i of 64 is not 0.
KSEG_INLINE uint64_t nonzero_bytes(const uint8_t* from) {
#if defined(KSEG_TARGET_AVX512)
  const __m512i bytes = _mm512_loadu_si512(from);
  return _mm512_test_epi8_mask(bytes, bytes);
#elif defined(KSEG_TARGET_AVX2)
  uint64_t zeros = 0;
  for (int part = 0; part < 2; ++part) {
    const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from) + part);
    const uint32_t bits = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_setzero_si256())));
    zeros |= static_cast<uint64_t>(bits) << (32 * part);
  }
  return ~zeros;
#elif KSEG_X86
  uint64_t zeros = 0;
  for (int part = 0; part < 4; ++part) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + part);
    const uint32_t bits = static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_setzero_si128())));
    zeros |= static_cast<uint64_t>(bits) << (16 * part);
  }
  return ~zeros;
#else
  uint64_t bits = 0;
  for (int i = 0; i < 64; ++i) bits |= static_cast<uint64_t>(from[i] != 0) << i;
  return bits;
#endif
}

// One row of a dense mask as (width + 63) / 64 words.
KSEG_INLINE void pack_row(const uint8_t* row, int64_t width, uint64_t* to) {
  int64_t x = 0;
  for (; x + 64 <= width; x += 64) *to++ = nonzero_bytes(row + x);
  if (x == width) return;
  uint64_t bits = 0;
  for (int64_t i = x; i < width; ++i) bits |= static_cast<uint64_t>(row[i] != 0) << (i - x);
  *to = bits;
}

// Sets of packed rows. Word j of a row holds pixels 64 j up to 64 j + 63; the last one may have fewer.
struct PackedRows {
  const uint8_t* data;
  int64_t height;
  int64_t row_bytes;
  int64_t full_words;    // of 64 pixels each
  int64_t tail_bytes;    // behind them
  uint64_t tail_pixels;  // the bits of the last word that are pixels

  PackedRows(const uint8_t* rows_data, const MaskStack& stack)
      : data(rows_data),
        height(stack.height),
        row_bytes(stack.row_bytes()),
        full_words(stack.width / 64),
        tail_bytes((stack.width % 64 + 7) / 8),
        tail_pixels(stack.width % 64 == 0 ? 0 : ~uint64_t{0} >> (64 - stack.width % 64)) {}

  // The word behind the full ones. Reads past the row where the array goes on, and never past its end.
  __attribute__((always_inline)) uint64_t tail(int64_t y) const {
    const int64_t offset = y * row_bytes + 8 * full_words;
    uint64_t word = 0;
    if (offset + 8 <= height * row_bytes) {
      __builtin_memcpy(&word, data + offset, 8);
    } else {
      for (int64_t i = 0; i < tail_bytes; ++i) word |= static_cast<uint64_t>(data[offset + i]) << (8 * i);
    }
    return word & tail_pixels;
  }
  __attribute__((always_inline)) uint64_t word(int64_t y, int64_t j) const {
    if (j == full_words) return tail(y);
    uint64_t word;
    __builtin_memcpy(&word, data + y * row_bytes + 8 * j, 8);
    return word;
  }
};

#if defined(KSEG_TARGET_AVX512)
// Bits per byte.
KSEG_INLINE __m512i byte_counts(__m512i bits) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m512i low = _mm512_set1_epi8(0x0f);
  const __m512i of_low = _mm512_shuffle_epi8(table, _mm512_and_si512(bits, low));
  const __m512i of_high = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(bits, 4), low));
  return _mm512_add_epi8(of_low, of_high);
}
#endif

// How many bits are set in both of two arrays of words.
inline int64_t common_bits(const uint64_t* a, const uint64_t* b, int64_t words) {
#if defined(KSEG_TARGET_AVX512)
  constexpr int64_t kMost = 31 * 8;  // words until a byte may overflow
  __m512i sum = _mm512_setzero_si512();
  for (int64_t begin = 0; begin < words; begin += kMost) {
    const int64_t end = begin + kMost < words ? begin + kMost : words;
    __m512i counts = _mm512_setzero_si512();
    int64_t i = begin;
    for (; i + 8 <= end; i += 8) {
      counts =
          _mm512_add_epi8(counts, byte_counts(_mm512_and_si512(_mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i))));
    }
    if (i < end) {
      const __mmask8 rest = static_cast<__mmask8>((1u << (end - i)) - 1);
      counts = _mm512_add_epi8(counts, byte_counts(_mm512_and_si512(_mm512_maskz_loadu_epi64(rest, a + i),
                                                                    _mm512_maskz_loadu_epi64(rest, b + i))));
    }
    sum = _mm512_add_epi64(sum, _mm512_sad_epu8(counts, _mm512_setzero_si512()));
  }
  return _mm512_reduce_add_epi64(sum);
#else
  int64_t total = 0;
  for (int64_t i = 0; i < words; ++i) total += __builtin_popcountll(a[i] & b[i]);
  return total;
#endif
}

struct CropScratch {
  std::vector<uint64_t> packed;   // the mask, if it came dense
  std::vector<uint64_t> columns;  // the union of its rows
};

// Word `j` of rows `top` up to `bottom`.
KSEG_INLINE void copy_column(const PackedRows& rows, int64_t j, int64_t top, int64_t bottom, uint64_t pixels,
                             uint64_t* to) {
  if (j == rows.full_words) {
    for (int64_t y = top; y < bottom; ++y) *to++ = rows.tail(y) & pixels;
    return;
  }
  const uint8_t* from = rows.data + top * rows.row_bytes + 8 * j;
  for (int64_t y = top; y < bottom; ++y, from += rows.row_bytes) {
    uint64_t word;
    __builtin_memcpy(&word, from, 8);
    *to++ = word & pixels;
  }
}

// Bits and area of mask `index` within its box, all that is read of it. The box stands for the mask's own bounding box.
inline void crop_to_box(const MaskStack& stack, int64_t index, CropScratch* scratch, CroppedMask* crop) {
  const MaskWindow window = mask_window(stack.boxes + 4 * index, stack.height, stack.width);
  if (window.empty()) return;
  const int64_t height = window.bottom - window.top;
  const int64_t first = window.left / 64, end = (window.right + 63) / 64;
  crop->top = window.top;
  crop->bottom = window.bottom;
  crop->left = window.left;
  crop->right = window.right;
  crop->first_word = first;
  crop->words = end - first;
  crop->bits.resize(height * crop->words);
  const uint64_t first_pixels = ~uint64_t{0} << window.left % 64;
  const uint64_t last_pixels = ~uint64_t{0} >> (63 - (window.right - 1) % 64);
  const PackedRows rows(stack.mask(index), stack);
  if (!stack.packed) {
    const int64_t pixels = (stack.width < 64 * end ? stack.width : 64 * end) - 64 * first;
    scratch->packed.resize(crop->words);
    for (int64_t y = 0; y < height; ++y) {
      pack_row(rows.data + (window.top + y) * stack.width + 64 * first, pixels, scratch->packed.data());
      for (int64_t j = 0; j < crop->words; ++j) crop->bits[j * height + y] = scratch->packed[j];
    }
  }
  for (int64_t j = first; j < end; ++j) {
    uint64_t* const to = crop->bits.data() + (j - first) * height;
    const uint64_t inside = (j == first ? first_pixels : ~uint64_t{0}) & (j == end - 1 ? last_pixels : ~uint64_t{0});
    if (stack.packed) {
      copy_column(rows, j, window.top, window.bottom, inside, to);
    } else if (inside != ~uint64_t{0}) {
      for (int64_t y = 0; y < height; ++y) to[y] &= inside;
    }
  }
  crop->area = common_bits(crop->bits.data(), crop->bits.data(), height * crop->words);
}

// Bounding box, bits and area of mask `index`.
inline void crop_mask(const MaskStack& stack, int64_t index, CropScratch* scratch, CroppedMask* crop) {
  typedef Vec<uint64_t> Words;
  constexpr int64_t kWords = kLanes<uint64_t>;
  *crop = CroppedMask();
  if (stack.without_pixels()) return;
  if (stack.boxes != nullptr) return crop_to_box(stack, index, scratch, crop);
  const int64_t words = (stack.width + 63) / 64;
  PackedRows rows(stack.mask(index), stack);
  if (!stack.packed) {
    scratch->packed.resize(stack.height * words);
    for (int64_t y = 0; y < stack.height; ++y) {
      pack_row(rows.data + y * stack.width, stack.width, scratch->packed.data() + y * words);
    }
    rows.data = reinterpret_cast<const uint8_t*>(scratch->packed.data());
    rows.row_bytes = 8 * words;
    rows.tail_bytes = stack.width % 64 == 0 ? 0 : 8;
  }

  scratch->columns.assign(words, 0);
  uint64_t* const columns = scratch->columns.data();
  int64_t top = -1, bottom = 0;
  for (int64_t y = 0; y < stack.height; ++y) {
    const uint8_t* const row = rows.data + y * rows.row_bytes;
    Words any_vector{};
    int64_t j = 0;
    for (; j + kWords <= rows.full_words; j += kWords) {
      const Words bits = (Words)load(row + 8 * j);
      store(columns + j, load(columns + j) | bits);
      any_vector |= bits;
    }
    uint64_t any = 0;
    for (int lane = 0; lane < kWords; ++lane) any |= any_vector[lane];
    for (; j < words; ++j) {
      const uint64_t bits = rows.word(y, j);
      columns[j] |= bits;
      any |= bits;
    }
    if (any != 0) {
      if (top < 0) top = y;
      bottom = y + 1;
    }
  }
  if (top < 0) return;
  int64_t first = 0, last = words - 1;
  while (columns[first] == 0) ++first;
  while (columns[last] == 0) --last;
  crop->top = top;
  crop->bottom = bottom;
  crop->left = 64 * first + __builtin_ctzll(columns[first]);
  crop->right = 64 * last + 64 - __builtin_clzll(columns[last]);
  crop->first_word = first;
  crop->words = last - first + 1;
  crop->bits.resize((bottom - top) * crop->words);
  uint64_t* to = crop->bits.data();
  for (int64_t j = first; j <= last; ++j) {
    for (int64_t y = top; y < bottom; ++y) *to++ = rows.word(y, j);
  }
  crop->area = common_bits(crop->bits.data(), crop->bits.data(), to - crop->bits.data());
}

// Pixels that are set in both.
inline int64_t intersection(const CroppedMask& a, const CroppedMask& b) {
  if (!boxes_meet(a, b)) return 0;
  const int64_t top = a.top > b.top ? a.top : b.top;
  const int64_t bottom = a.bottom < b.bottom ? a.bottom : b.bottom;
  const int64_t first = a.first_word > b.first_word ? a.first_word : b.first_word;
  const int64_t a_end = a.first_word + a.words, b_end = b.first_word + b.words;
  const int64_t end = a_end < b_end ? a_end : b_end;
  int64_t total = 0;
  for (int64_t word = first; word < end; ++word) total += common_bits(a.at(word, top), b.at(word, top), bottom - top);
  return total;
}

// On several threads where the work takes longer than to wake one and to wait for it: little is left to do where masks
// are small or have boxes.
template <class Body>
void run_where_worth(const ParallelFor& parallel_for, int64_t total, int64_t cycles_per_unit, const Body& body) {
  constexpr int64_t kLeast = 400000;
  if (total <= kLeast / std::max<int64_t>(1, cycles_per_unit)) {
    if (total > 0) body(int64_t{0}, total);
    return;
  }
  parallel_for.run(total, cycles_per_unit, body);
}

// Masks `indices[i]` of the stack.
inline void crop_masks(const MaskStack& stack, const std::vector<int64_t>& indices, const ParallelFor& parallel_for,
                       std::vector<CroppedMask>* crops) {
  const int64_t count = static_cast<int64_t>(indices.size());
  crops->resize(count);
  // Boxes are mostly far smaller than the image; how much, only they know.
  const int64_t bytes = stack.height * stack.row_bytes() / (stack.boxes == nullptr ? 1 : 16);
  run_where_worth(parallel_for, count, bytes / 16 + 1000, [&](int64_t begin, int64_t end) {
    CropScratch scratch;
    for (int64_t i = begin; i < end; ++i) crop_mask(stack, indices[i], &scratch, &(*crops)[i]);
  });
}

// Rough cycles that a pair of them takes.
inline int64_t pair_cycles(const std::vector<CroppedMask>& crops) {
  int64_t words = 0;
  for (const CroppedMask& crop : crops) words += (crop.bottom - crop.top) * crop.words;
  return 20 + (crops.empty() ? 0 : words / (64 * static_cast<int64_t>(crops.size())));
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_MASK_IOU_MASK_BITS_H_
