// The pixels of a pasted mask in strips of 64 columns, as bits. Opens the target as kernel.h does: included last.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_STRIP_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_STRIP_H_

#include <algorithm>
#include <vector>

#include "ops/paste_masks/exact_fma.h"
#include "ops/paste_masks/paste_taps.h"

#include "base/kernel.h"

KSEG_KERNEL_BEGIN

inline constexpr int kStrip = 64;

// a * b + c, rounded once.
KSEG_INLINE VecF fused(VecF a, VecF b, VecF c) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif KSEG_X86
  VecF sum;
  for (int lane = 0; lane < kLanesF; ++lane) sum[lane] = exact_fma(a[lane], b[lane], c[lane]);
  return sum;
#else
  VecF sum;
  for (int lane = 0; lane < kLanesF; ++lane) sum[lane] = __builtin_fmaf(a[lane], b[lane], c[lane]);
  return sum;
#endif
}

// One bit per lane: value > bound, or, `at`, value >= bound.
template <bool at>
KSEG_INLINE uint32_t lanes_above(VecF value, VecF bound) {
#if defined(KSEG_TARGET_AVX512)
  return _mm512_cmp_ps_mask((__m512)value, (__m512)bound, at ? _CMP_GE_OQ : _CMP_GT_OQ);
#elif defined(KSEG_TARGET_AVX2)
  return static_cast<uint32_t>(
      _mm256_movemask_ps(_mm256_cmp_ps((__m256)value, (__m256)bound, at ? _CMP_GE_OQ : _CMP_GT_OQ)));
#elif KSEG_X86
  return static_cast<uint32_t>(
      _mm_movemask_ps(at ? _mm_cmpge_ps((__m128)value, (__m128)bound) : _mm_cmpgt_ps((__m128)value, (__m128)bound)));
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanesF; ++lane) {
    bits |= static_cast<uint32_t>(at ? value[lane] >= bound[lane] : value[lane] > bound[lane]) << lane;
  }
  return bits;
#endif
}

// One mask with a border of zeros, and what is read of it for a strip of columns and some rows.
struct PasteScratch {
  std::vector<float> mask;              // [height + 2, width + 2]
  std::vector<float> columns;           // per row of `mask` a strip: interpolated, or two strips of its taps
  std::vector<char> ready;              // which of them
  std::vector<int32_t> row_index[2];    // per image row
  std::vector<float> row_weight[2];
  int32_t index[2][kStrip];             // per column
  alignas(64) float weight[2][kStrip];
};

template <class T>
inline void load_mask(const T* from, int64_t height, int64_t width, PasteScratch* scratch) {
  scratch->mask.assign((height + 2) * (width + 2), 0.0f);
  for (int64_t y = 0; y < height; ++y) {
    float* const to = scratch->mask.data() + (y + 1) * (width + 2) + 1;
    for (int64_t x = 0; x < width; ++x) to[x] = to_float(from[y * width + x]);
  }
}

// The strips of mask row `row`, made at the first request.
template <PasteFormula formula>
KSEG_INLINE const float* strip_of_row(int64_t row, int64_t mask_width, PasteScratch* scratch) {
  constexpr int kPerRow = formula == PasteFormula::kRowsThenColumns ? kStrip : 2 * kStrip;
  float* const to = scratch->columns.data() + row * kPerRow;
  if (scratch->ready[row]) return to;
  scratch->ready[row] = 1;
  const float* const from = scratch->mask.data() + row * mask_width;
  alignas(64) float taps[2][kStrip];
  for (int side = 0; side < 2; ++side) {
    float* const values = formula == PasteFormula::kRowsThenColumns ? taps[side] : to + side * kStrip;
    for (int x = 0; x < kStrip; ++x) values[x] = from[scratch->index[side][x]];
  }
  if constexpr (formula == PasteFormula::kRowsThenColumns) {
    for (int x = 0; x < kStrip; x += kLanesF) {
      const VecF high = load(taps[1] + x) * load(scratch->weight[1] + x);
      store(to + x, fused(load(taps[0] + x), load(scratch->weight[0] + x), high));
    }
  }
  return to;
}

// bits[y - top] gets the pixels 64 * word .. 64 * word + 63 of image row y, for rows [top, bottom).
template <PasteFormula formula>
inline void paste_strip_as(const PasteBox& box, int64_t word, int64_t top, int64_t bottom, float threshold,
                           PasteScratch* scratch, uint64_t* bits) {
  const int64_t rows = bottom - top;
  paste_taps(box.x, kStrip * word, kStrip,
             {{scratch->index[0], scratch->index[1]}, {scratch->weight[0], scratch->weight[1]}});
  for (int side = 0; side < 2; ++side) {
    scratch->row_index[side].resize(rows);
    scratch->row_weight[side].resize(rows);
  }
  paste_taps(box.y, top, rows,
             {{scratch->row_index[0].data(), scratch->row_index[1].data()},
              {scratch->row_weight[0].data(), scratch->row_weight[1].data()}});
  scratch->columns.resize(box.y.extent * 2 * kStrip);
  scratch->ready.assign(box.y.extent, 0);
  const VecF bound = splat(threshold);
  for (int64_t y = 0; y < rows; ++y) {
    const float* const upper = strip_of_row<formula>(scratch->row_index[0][y], box.x.extent, scratch);
    const float* const lower = strip_of_row<formula>(scratch->row_index[1][y], box.x.extent, scratch);
    const VecF upper_weight = splat(scratch->row_weight[0][y]), lower_weight = splat(scratch->row_weight[1][y]);
    uint64_t set = 0;
    for (int x = 0; x < kStrip; x += kLanesF) {
      uint32_t lanes;
      if constexpr (formula == PasteFormula::kRowsThenColumns) {
        const VecF value = fused(load(upper + x), upper_weight, load(lower + x) * lower_weight);
        lanes = lanes_above<false>(value, bound);
      } else {
        const VecF left = load(scratch->weight[0] + x), right = load(scratch->weight[1] + x);
        const VecF upper_left = load(upper + x), upper_right = load(upper + kStrip + x);
        VecF value;
        if constexpr (formula == PasteFormula::kGridSample) {
          value = fused(upper_right, right * upper_weight, upper_left * (left * upper_weight));
        } else {
          value = fused(upper_left, left * upper_weight, upper_right * (right * upper_weight));
        }
        value = fused(load(lower + x), left * lower_weight, value);
        value = fused(load(lower + kStrip + x), right * lower_weight, value);
        lanes = lanes_above<formula == PasteFormula::kGridSample>(value, bound);
      }
      set |= static_cast<uint64_t>(lanes) << x;
    }
    bits[y] = set;
  }
}

inline void paste_strip(const PasteBox& box, int64_t word, int64_t top, int64_t bottom, float threshold,
                        PasteScratch* scratch, uint64_t* bits) {
  switch (box.x.formula) {
    case PasteFormula::kRowsThenColumns:
      return paste_strip_as<PasteFormula::kRowsThenColumns>(box, word, top, bottom, threshold, scratch, bits);
    case PasteFormula::kSmall:
      return paste_strip_as<PasteFormula::kSmall>(box, word, top, bottom, threshold, scratch, bits);
    case PasteFormula::kGridSample:
      return paste_strip_as<PasteFormula::kGridSample>(box, word, top, bottom, threshold, scratch, bits);
  }
}

// 64 bytes of 0 and 1.
KSEG_INLINE void unpack_bits(uint64_t bits, uint8_t* to) {
#if defined(KSEG_TARGET_AVX512)
  _mm512_storeu_si512(to, _mm512_maskz_set1_epi8(bits, 1));
#elif defined(KSEG_TARGET_AVX2)
  const __m256i which =
      _mm256_setr_epi64x(0x0000000000000000, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
  for (int part = 0; part < 2; ++part) {
    const __m256i all = _mm256_set1_epi32(static_cast<int32_t>(bits >> (32 * part)));
    const __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(all, which), bit);
    const __m256i bytes = _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), _mm256_set1_epi8(1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to) + part, bytes);
  }
#else
  for (int byte = 0; byte < 8; ++byte) {
    // Bit i into byte i, where it is either 0 or the i-th power of two; then to the top of the byte and down to 1.
    const uint64_t spread = ((bits >> (8 * byte)) & 0xff) * 0x0101010101010101u & 0x8040201008040201u;
    const uint64_t tops = ((spread & 0x7f7f7f7f7f7f7f7fu) + 0x7f7f7f7f7f7f7f7fu) | spread;
    const uint64_t bytes = tops >> 7 & 0x0101010101010101u;
    __builtin_memcpy(to + 8 * byte, &bytes, 8);
  }
#endif
}

// Turns 64 rows of 64 bits into 64 columns: bit i of word j and bit j of word i change places.
KSEG_INLINE void transpose_bits(uint64_t* words) {
  uint64_t mask = 0x00000000ffffffffu;
  for (int step = 32; step != 0; step >>= 1, mask ^= mask << step) {
    for (int base = 0; base < 64; base += 2 * step) {
      for (int k = base; k < base + step; ++k) {
        const uint64_t swapped = ((words[k] >> step) ^ words[k + step]) & mask;
        words[k + step] ^= swapped;
        words[k] ^= swapped << step;
      }
    }
  }
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_STRIP_H_
