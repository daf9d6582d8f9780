// The best class at every output of a tile between four source pixels. Opens the target as base/kernel.h does, so it is
// included last.
#ifndef KSEG_OPS_RESIZE_ARGMAX_TILE_ARGMAX_H_
#define KSEG_OPS_RESIZE_ARGMAX_TILE_ARGMAX_H_

#include "ops/resize_argmax/resize_tiles.h"

#include "base/argmax.h"

KSEG_KERNEL_BEGIN

// Outputs between the same four source pixels form tiles of at most 4 x 4. Within a tile a class is a bilinear function
// a + dx x + dy y + dxy x y, so
//   - a class that wins at all four source pixels wins everywhere between them: the tile is filled;
//   - a class takes its largest value over the tile at one of the tile's four corner outputs: if that is below the
//     smallest value of an envelope of good classes, it wins nowhere in the tile and is not evaluated there.

constexpr float kLargest = 1e30f;  // differences and their multiples stay finite
constexpr int kOutputs = kTileSide * kTileSide;
constexpr int kChunks = kOutputs / kLanesF;  // vectors per tile, outputs in row-major order
static_assert(kChunks >= 1);

// The logits of the four source pixels, rows padded to whole vectors.
struct Corners {
  const float* upper_left;
  const float* upper_right;
  const float* lower_left;
  const float* lower_right;
};

// The best classes at kRows x kColumns <= 2 x 2 outputs, lanes holding classes.
template <int kRows, int kColumns>
KSEG_INLINE void best_at_points(const Corners& corners, int32_t padded, const float* y, const float* x, int32_t* best) {
  RunningMax running[kRows * kColumns];
  for (int i = 0; i < kRows * kColumns; ++i) running[i] = no_maximum();
  VecF ys[kRows], xs[kColumns];
  for (int i = 0; i < kRows; ++i) ys[i] = splat(y[i]);
  for (int j = 0; j < kColumns; ++j) xs[j] = splat(x[j]);
  for (int32_t channel = 0; channel < padded; channel += kLanesF) {
    const VecI place = splat(channel / kLanesF);
    const VecF upper_left = load(corners.upper_left + channel);
    const VecF upper_right = load(corners.upper_right + channel);
    const VecF down_left = load(corners.lower_left + channel) - upper_left;
    const VecF down_right = load(corners.lower_right + channel) - upper_right;
    for (int i = 0; i < kRows; ++i) {
      const VecF left = upper_left + down_left * ys[i];
      const VecF across = upper_right + down_right * ys[i] - left;
      for (int j = 0; j < kColumns; ++j) running[i * kColumns + j].offer(left + across * xs[j], place);
    }
  }
  for (int i = 0; i < kRows * kColumns; ++i) best[i] = best_class(running[i]);
}

// Every class' largest value over a tile, which it takes at one of the corner outputs.
KSEG_INLINE void highest_values(const Corners& corners, int32_t padded, const ResizeTile& row, const ResizeTile& column,
                                float* highest) {
  const VecF top = splat(row.lerp[0]);
  const VecF bottom = splat(row.lerp[kTileSide - 1]);
  const VecF first = splat(column.lerp[0]);
  const VecF last = splat(column.lerp[kTileSide - 1]);
  for (int32_t channel = 0; channel < padded; channel += kLanesF) {
    const VecF upper_left = load(corners.upper_left + channel);
    const VecF upper_right = load(corners.upper_right + channel);
    const VecF down_left = load(corners.lower_left + channel) - upper_left;
    const VecF down_right = load(corners.lower_right + channel) - upper_right;
    const VecF top_left = upper_left + down_left * top;
    const VecF top_across = upper_right + down_right * top - top_left;
    const VecF bottom_left = upper_left + down_left * bottom;
    const VecF bottom_across = upper_right + down_right * bottom - bottom_left;
    store(highest + channel, larger(larger(top_left + top_across * first, top_left + top_across * last),
                                    larger(bottom_left + bottom_across * first, bottom_left + bottom_across * last)));
  }
}

// Where the outputs of a tile lie between the four source pixels.
struct Places {
  VecF x[kChunks], y[kChunks], xy[kChunks];
};
KSEG_INLINE Places places_of(const float* column_weights, const float* row_weights) {
  Places places;
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    places.x[chunk] = load(column_weights + chunk * kLanesF);
    places.y[chunk] = load(row_weights + chunk * kLanesF);
    places.xy[chunk] = places.x[chunk] * places.y[chunk];
  }
  return places;
}

// A class as a function of the place: value + dx x + dy y + dxy x y.
struct Bilinear {
  VecF value, dx, dy, dxy;
};
KSEG_INLINE VecF value_at(const Bilinear& function, const Places& places, int chunk) {
  return function.dxy * places.xy[chunk] +
         (function.dx * places.x[chunk] + (function.dy * places.y[chunk] + function.value));
}
KSEG_INLINE Bilinear bilinear_of(const Corners& corners, int32_t channel) {
  const VecF upper_left = splat(corners.upper_left[channel]);
  const VecF dx = splat(corners.upper_right[channel]) - upper_left;
  const VecF lower_left = splat(corners.lower_left[channel]);
  return {upper_left, dx, lower_left - upper_left, (splat(corners.lower_right[channel]) - lower_left) - dx};
}

// Where best_of() finds the logits of four classes, side by side and repeated over the vector: classes in order,
struct InOrder {
  __attribute__((always_inline)) VecF four(const float* row, int32_t first) const {
#if defined(KSEG_TARGET_AVX512)
    return (VecF)_mm512_broadcast_f32x4(_mm_loadu_ps(row + first));
#elif defined(KSEG_TARGET_AVX2)
    return (VecF)_mm256_broadcast_ps(reinterpret_cast<const __m128*>(row + first));
#else
    return load(row + first);
#endif
  }
};
// or those of a list.
struct Listed {
  const int32_t* numbers;

  __attribute__((always_inline)) VecF four(const float* row, int32_t first) const {
    const float a = row[numbers[first]];
    const float b = row[numbers[first + 1]];
    const float c = row[numbers[first + 2]];
    const float d = row[numbers[first + 3]];
#if defined(KSEG_TARGET_AVX512)
    return (VecF)_mm512_broadcast_f32x4(_mm_setr_ps(a, b, c, d));
#elif defined(KSEG_TARGET_AVX2)
    return (VecF)_mm256_set_m128(_mm_setr_ps(a, b, c, d), _mm_setr_ps(a, b, c, d));
#else
    return VecF{a, b, c, d};
#endif
  }
};

// Repeats one of each four numbers.
template <int kWhich>
KSEG_INLINE VecF spread(VecF value) {
#if defined(KSEG_TARGET_AVX512)
  return (VecF)_mm512_permute_ps((__m512)value, kWhich * 0x55);
#elif defined(KSEG_TARGET_AVX2)
  return (VecF)_mm256_permute_ps((__m256)value, kWhich * 0x55);
#elif KSEG_X86
  return (VecF)_mm_shuffle_ps((__m128)value, (__m128)value, kWhich * 0x55);
#else
  return splat(value[kWhich]);
#endif
}

// A running maximum waits for the one before it. Narrow vectors need several per tile, which overlap in time; a wide
// one has the whole tile, so each class of a group of four gets a maximum of its own.
constexpr int kChains = kChunks == 1 ? kTileSide : 1;

template <int kWhich>
KSEG_INLINE void offer_class(const VecF* left, const VecF* across, const Places& places, VecI first_class,
                             RunningMax (*running)[kChunks]) {
  const VecI place = kChains == 1 ? first_class + splat(kWhich) : first_class;
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const VecF value = spread<kWhich>(left[chunk]) + spread<kWhich>(across[chunk]) * places.x[chunk];
    running[kWhich % kChains][chunk].offer(value, place);
  }
}

// The best of `count` classes at every output, by their places in `source`, which is read in whole groups of four. Four
// classes at a time are interpolated downwards: a group of four lanes then has their values in one row of outputs.
template <class Source>
KSEG_INLINE void best_of(const Corners& corners, const Source& source, int32_t count, const Places& places,
                         int32_t* best) {
  RunningMax running[kChains][kChunks];
  for (int chain = 0; chain < kChains; ++chain) {
    for (int chunk = 0; chunk < kChunks; ++chunk) running[chain][chunk] = no_maximum();
  }
  VecI place{};  // counted in a vector: bringing numbers over from general registers is slow
  for (int32_t first = 0; first < count; first += 4, place += splat(4)) {
    const VecF upper_left = source.four(corners.upper_left, first);
    const VecF upper_right = source.four(corners.upper_right, first);
    const VecF down_left = source.four(corners.lower_left, first) - upper_left;
    const VecF down_right = source.four(corners.lower_right, first) - upper_right;
    VecF left[kChunks], across[kChunks];
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      left[chunk] = upper_left + down_left * places.y[chunk];
      across[chunk] = upper_right + down_right * places.y[chunk] - left[chunk];
    }
    offer_class<0>(left, across, places, place, running);
    offer_class<1>(left, across, places, place, running);
    offer_class<2>(left, across, places, place, running);
    offer_class<3>(left, across, places, place, running);
  }
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    if constexpr (kChains == 4) {
      running[1][chunk].where += splat(1);
      running[2][chunk].where += splat(2);
      running[3][chunk].where += splat(3);
      running[0][chunk].join(running[1][chunk]);
      running[2][chunk].join(running[3][chunk]);
      running[0][chunk].join(running[2][chunk]);
    }
    store(best + chunk * kLanesF, running[0][chunk].where);
  }
}

// Lists the classes whose `highest` reaches `bound`, in rising order, and returns how many they are. The list is filled
// up to groups of four with its last class; up to two vectors more than there are classes may be written.
KSEG_INLINE int32_t list_candidates(const float* highest, int32_t padded, float bound, int32_t* candidates) {
  int32_t count = 0;
  const VecF bounds = splat(bound);
#if defined(KSEG_TARGET_AVX512)
  __m512i numbers = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  for (int32_t channel = 0; channel < padded; channel += kLanesF) {
    const uint32_t reach = lanes_at_least(load(highest + channel), bounds);
    // Through a register: compressing straight to memory is microcoded on some machines.
    _mm512_storeu_si512(candidates + count, _mm512_maskz_compress_epi32(static_cast<__mmask16>(reach), numbers));
    count += __builtin_popcount(reach);
    numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(kLanesF));
  }
#else
  // Bits are gathered 64 at a time: each loop over set bits costs one mispredicted branch, however many there are.
  for (int32_t first = 0; first < padded; first += 64) {
    const int32_t end = padded - first < 64 ? padded - first : 64;
    uint64_t reach = 0;
    for (int32_t i = 0; i < end; i += kLanesF) {
      reach |= static_cast<uint64_t>(lanes_at_least(load(highest + first + i), bounds)) << i;
    }
    for (; reach != 0; reach &= reach - 1) candidates[count++] = first + __builtin_ctzll(reach);
  }
#endif
  store(candidates + count, splat(candidates[count - 1]));
  return count;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_ARGMAX_TILE_ARGMAX_H_
