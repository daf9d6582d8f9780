// The forward pass of one bin: a weighted sum of channel vectors. Opens the target as base/kernel.h does, so it is
// included last.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_POOL_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_POOL_H_

#include <algorithm>
#include <type_traits>
#include <vector>

#include "ops/roi_align/roi_align_taps.h"

#include "base/kernel.h"

KSEG_KERNEL_BEGIN

template <class T>
KSEG_INLINE Vec<Compute<T>> load_compute(const T* from) {
  if constexpr (sizeof(T) == 8) {
    return load(from);
  } else {
    return load_float(from);
  }
}

template <class T>
KSEG_INLINE void store_compute(T* to, Vec<Compute<T>> value) {
  if constexpr (sizeof(T) == 8) {
    store(to, value);
  } else {
    store_float(to, value);
  }
}

template <class T>
T narrow(Compute<T> value) {
  if constexpr (sizeof(T) == 8) {
    return value;
  } else {
    return from_float<T>(value);
  }
}

// Asks for every second line: the other one of a pair comes along, and more requests than that take longer than they
// save.
template <int count, class T>
KSEG_INLINE void prefetch(const T* from) {
  for (int i = 0; i < count; i += 128 / sizeof(T)) __builtin_prefetch(from + i);
}

// Stores that do not first read what they overwrite, for results too large to stay in a cache. They need aligned
// addresses, and end_of_streams() before another thread reads what they wrote.
template <class T>
bool can_stream(const T* to, int64_t channels, int64_t bytes) {
  constexpr int64_t kLeast = int64_t{8} << 20;
  return KSEG_X86 && std::is_same<T, float>::value && bytes >= kLeast && channels % kLanesF == 0 &&
         reinterpret_cast<uintptr_t>(to) % KSEG_VECTOR_BYTES == 0;
}
KSEG_INLINE void stream(float* to, VecF value) {
#if defined(KSEG_TARGET_AVX512)
  _mm512_stream_ps(to, (__m512)value);
#elif defined(KSEG_TARGET_AVX2)
  _mm256_stream_ps(to, (__m256)value);
#elif KSEG_X86
  _mm_stream_ps(to, (__m128)value);
#else
  store(to, value);
#endif
}
KSEG_INLINE void end_of_streams() {
#if KSEG_X86
  _mm_sfence();
#endif
}

// More taps than this are not multiplied out into a list: adaptive sampling of a large box reads its whole area.
constexpr int kMostCrossed = 64;

// The taps of a bin: every row of it with every column.
template <class Real>
struct BinTaps {
  int count = 0;
  int64_t offset[kMostCrossed];
  Real weight[kMostCrossed];
};

// A weighted sum of channel vectors: to[c] = sum over taps of weight * from[offset + c]. Meanwhile asks for what `next`
// will read: the taps of a bin lie in several rows of the map, where no hardware sees a pattern.
template <bool past_cache, int vectors, class T, class Real = Compute<T>>
KSEG_INLINE void pool_block(const T* from, const BinTaps<Real>& taps, const BinTaps<Real>& next, T* to) {
  Vec<Real> sum[vectors] = {};
  for (int i = 0; i < taps.count; ++i) {
    if (i < next.count) prefetch<vectors * kLanes<Real>>(from + next.offset[i]);
    const T* const pixel = from + taps.offset[i];
    const Vec<Real> weight = splat(taps.weight[i]);
    for (int v = 0; v < vectors; ++v) sum[v] += weight * load_compute(pixel + v * kLanes<Real>);
  }
  for (int v = 0; v < vectors; ++v) {
    if constexpr (past_cache) {
      stream(to + v * kLanes<Real>, sum[v]);
    } else {
      store_compute(to + v * kLanes<Real>, sum[v]);
    }
  }
}

// How many vectors of channels one pass over the taps sums: as many as the registers hold. Of 256 floats, AVX-512 then
// reads each pixel from its first byte to its last, which is what hardware prefetchers expect.
constexpr int kPoolBlock = KSEG_VECTOR_BYTES == 64 ? 16 : 8;

// Where channels may be cut into parts: a multiple of the lanes of kPoolBlock vectors of any type.
constexpr int64_t kChannelPart = 256;

template <bool past_cache, class T, class Real = Compute<T>>
void pool_bin(const T* from, const BinTaps<Real>& taps, const BinTaps<Real>& next, int64_t channels, T* to) {
  constexpr int64_t kLane = kLanes<Real>;
  int64_t c = 0;
  for (; c + kPoolBlock * kLane <= channels; c += kPoolBlock * kLane) {
    pool_block<past_cache, kPoolBlock>(from + c, taps, next, to + c);
  }
  for (; c + 4 * kLane <= channels; c += 4 * kLane) pool_block<past_cache, 4>(from + c, taps, next, to + c);
  for (; c + kLane <= channels; c += kLane) pool_block<past_cache, 1>(from + c, taps, next, to + c);
  for (; c < channels; ++c) {
    Real sum = 0;
    for (int i = 0; i < taps.count; ++i) sum += taps.weight[i] * to_float(from[taps.offset[i] + c]);
    to[c] = narrow<T>(sum);
  }
}

// Long sums are sums of sums of this many terms, so that rounding errors do not grow with the area of the box.
constexpr int kSumBlock = 64;

// One value, or one vector of them, of each of several channels.
template <class Value, class T>
KSEG_INLINE Value read(const T* from) {
  if constexpr (std::is_same<Value, Compute<T>>::value) {
    return to_float(*from);
  } else {
    return load_compute(from);
  }
}

// Like pool_block for any number of taps, given by axis: sums along each row, and then over the rows. `cached`: most of
// what it reads is in a near cache, and asking for it would take more than it gives.
template <bool cached, class Value, int values, class T, class Real = Compute<T>>
KSEG_INLINE void pool_large_block(const T* from, const RoiTap<Real>* rows, int row_count, const RoiTap<Real>* columns,
                                  int column_count, T* to) {
  constexpr int kStep = sizeof(Value) / sizeof(Real);
  Value sum[values] = {};
  for (int first_row = 0; first_row < row_count; first_row += kSumBlock) {
    Value sum_of_rows[values] = {};
    for (int row = first_row; row < std::min(row_count, first_row + kSumBlock); ++row) {
      const T* const line = from + rows[row].offset;
      [[maybe_unused]] const int64_t to_next_line = row + 1 < row_count ? rows[row + 1].offset - rows[row].offset : 0;
      Value sum_of_row[values] = {};
      for (int first = 0; first < column_count; first += kSumBlock) {
        Value part[values] = {};
        for (int column = first; column < std::min(column_count, first + kSumBlock); ++column) {
          const T* const pixel = line + columns[column].offset;
          if constexpr (kStep > 1 && !cached) prefetch<values * kStep>(pixel + to_next_line);
          for (int v = 0; v < values; ++v) part[v] += columns[column].weight * read<Value>(pixel + v * kStep);
        }
        for (int v = 0; v < values; ++v) sum_of_row[v] += part[v];
      }
      for (int v = 0; v < values; ++v) sum_of_rows[v] += rows[row].weight * sum_of_row[v];
    }
    for (int v = 0; v < values; ++v) sum[v] += sum_of_rows[v];
  }
  for (int v = 0; v < values; ++v) {
    if constexpr (kStep == 1) {
      to[v] = narrow<T>(sum[v]);
    } else {
      store_compute(to + v * kStep, sum[v]);
    }
  }
}

template <bool cached, class T, class Real = Compute<T>>
void pool_large_bin(const T* from, const RoiTapLists<Real>& row_taps, int64_t row_bin,
                    const RoiTapLists<Real>& column_taps, int64_t column_bin, int64_t channels, T* to) {
  constexpr int64_t kLane = kLanes<Real>;
  const RoiTap<Real>* const rows = row_taps.begin(row_bin);
  const RoiTap<Real>* const columns = column_taps.begin(column_bin);
  const int row_count = row_taps.size(row_bin), column_count = column_taps.size(column_bin);
  int64_t c = 0;
  for (; c + kPoolBlock * kLane <= channels; c += kPoolBlock * kLane) {
    pool_large_block<cached, Vec<Real>, kPoolBlock>(from + c, rows, row_count, columns, column_count, to + c);
  }
  for (; c + 4 * kLane <= channels; c += 4 * kLane) {
    pool_large_block<cached, Vec<Real>, 4>(from + c, rows, row_count, columns, column_count, to + c);
  }
  for (; c + kLane <= channels; c += kLane) {
    pool_large_block<cached, Vec<Real>, 1>(from + c, rows, row_count, columns, column_count, to + c);
  }
  for (; c < channels; ++c) pool_large_block<cached, Real, 1>(from + c, rows, row_count, columns, column_count, to + c);
}

template <class Real>
bool is_large(const RoiTapLists<Real>& rows, int64_t row_bin, const RoiTapLists<Real>& columns, int64_t column_bin) {
  return int64_t{rows.size(row_bin)} * columns.size(column_bin) > kMostCrossed;
}

// The taps of a bin; none for a large one, which does without.
template <class Real>
void cross(const RoiTapLists<Real>& rows, int64_t row_bin, const RoiTapLists<Real>& columns, int64_t column_bin,
           BinTaps<Real>* taps) {
  taps->count = 0;
  if (is_large(rows, row_bin, columns, column_bin)) return;
  const int row_count = rows.size(row_bin), column_count = columns.size(column_bin);
  const RoiTap<Real>* const row_taps = rows.begin(row_bin);
  const RoiTap<Real>* const column_taps = columns.begin(column_bin);
  int64_t* offset = taps->offset;
  Real* weight = taps->weight;
  for (int row = 0; row < row_count; ++row) {
    const RoiTap<Real> of_row = row_taps[row];
    for (int column = 0; column < column_count; ++column) {
      *offset++ = of_row.offset + column_taps[column].offset;
      *weight++ = of_row.weight * column_taps[column].weight;
    }
  }
  taps->count = row_count * column_count;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_POOL_H_
