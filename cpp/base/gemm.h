// The matrix product C = A * B in float32, for kernels that make their own rows of A.
//
// B (weights) is packed once per call: gemm_pack. A is cut into tiles of rows and blocks of depth; one block of one
// tile is a panel, which its maker (a copy, a gather of convolution taps, a depthwise convolution) writes row by row,
// with kGemmStride floats from one row to the next, and which stays in the cache until gemm_panel has multiplied it:
//
//   AlignedFloats packed(gemm_packed_size(depth, columns));
//   gemm_pack(weights, depth, columns, /*scale=*/nullptr, packed.data(), parallel_for);
//   const PackedB b{packed.data(), depth, columns};
//   parallel_for.run(tiles, cost, [&](int64_t begin, int64_t end) {
//     GemmScratch scratch(most_rows, b);
//     for (int64_t tile = begin; tile < end; ++tile) {
//       gemm_tile(rows, b, epilogue, /*add=*/false, c_rows, &scratch, [&](int64_t from, int64_t count, float* panel) {
//         // panel[row * kGemmStride + i] = A[row][from + i] for i < count
//       });
//     }
//   });
//
// An element of C is a sum of chains: kGemmChain products are added up from zero, by fused multiply-adds in the order
// of depth, and their sum is added to what is there. (In one chain of all products, each would be rounded at the size
// of the whole sum.) The order does not depend on tiles or threads: the results are bitwise the same for every
// decomposition. Opens the target as kernel.h does, so it is included last.
#ifndef KSEG_BASE_GEMM_H_
#define KSEG_BASE_GEMM_H_

#include <cstdint>
#include <cstring>

#include "base/gemm_types.h"
#include "base/half.h"
#include "base/parallel_for.h"
#include "base/kernel.h"

KSEG_KERNEL_BEGIN

// A microkernel holds kGemmRows x kGemmColumns sums in registers. Tiles of a multiple of kGemmRows rows fit best, and
// some 100 rows make up for reading B from the outer caches.
#if defined(KSEG_TARGET_AVX512)
inline constexpr int kGemmRows = 14;
#else
inline constexpr int kGemmRows = 6;
#endif
inline constexpr int kGemmColumns = 2 * kLanesF;
// The end of a chain costs a load, a sum and a store per element: 1 % of the time with 256, 4 % with 128. The errors of
// sums of 2048 to 20000 products are 3 to 8 times smaller than those of one chain.
inline constexpr int64_t kGemmChain = 256;
inline constexpr int64_t kGemmDepth = 2 * kGemmChain;    // of a block, at most
inline constexpr int64_t kGemmStride = kGemmDepth + 16;  // not a power of two: rows would share the sets of the cache

// B, packed by gemm_pack: block of depth by block, strip of kGemmColumns columns by strip, zeros beyond the last
// column.
struct PackedB {
  const float* data;
  int64_t depth;
  int64_t columns;
};

KSEG_INLINE int64_t gemm_padded_columns(int64_t columns) {
  return (columns + kGemmColumns - 1) / kGemmColumns * kGemmColumns;
}
// In floats.
KSEG_INLINE int64_t gemm_packed_size(int64_t depth, int64_t columns) { return depth * gemm_padded_columns(columns); }

// Packs b [depth, columns], each column times its entry of `scale` where that is not null.
template <class T>
void gemm_pack(const T* b, int64_t depth, int64_t columns, const float* scale, float* packed,
               const ParallelFor& parallel_for);

// Addresses that will be read soon: `bytes` from each of `count` rows, fetched into the cache during the product.
struct GemmAhead {
  const void* const* rows = nullptr;
  int64_t count = 0;
  int64_t bytes = 0;
};

// c[row][0..columns) = or, with `add`, += panel * (depths from `first_depth` on, of one block of B), then the epilogue
// where that is not null. `first_depth` is a multiple of kGemmDepth.
void gemm_panel(const float* panel, int64_t rows, const PackedB& b, int64_t first_depth, bool add,
                const Epilogue* epilogue, float* const* c, const GemmAhead& ahead = GemmAhead());

// One element type of C per call; 16-bit results are summed in float32 and rounded once.
template <class T>
void gemm_store_row(const float* from, int64_t count, T* to);

// Rows of a matrix into a panel: panel[r * kGemmStride + i] = rows[r][i] for i < count.
template <class T>
void gemm_fill_panel(const T* const* rows, int64_t row_count, int64_t count, float* panel);

// Applies an epilogue to `count` channels from the first one on.
void apply_epilogue(const Epilogue& epilogue, int64_t count, float* values);

// What one task needs; made once per task for its largest tile.
struct GemmScratch {
  AlignedFloats panel;
  AlignedFloats sums;  // [rows, columns], for results that are not float32
  int64_t columns;

  GemmScratch(int64_t most_rows, const PackedB& b, bool with_sums)
      : panel(most_rows * kGemmStride), sums(with_sums ? most_rows * b.columns : 0), columns(b.columns) {}
};

// One tile of C, whole depth: c[row] points to b.columns results. fill(first_depth, count, panel) makes a block of A;
// ahead(first_depth) says what the block after it will read. At most kMostTileRows rows.
inline constexpr int64_t kMostTileRows = 256;
template <class T, class Fill, class Ahead>
KSEG_INLINE void gemm_tile(int64_t rows, const PackedB& b, const Epilogue& epilogue, bool add, T* const* c,
                           GemmScratch* scratch, const Fill& fill, const Ahead& ahead) {
  float* sums[kMostTileRows];
  for (int64_t row = 0; row < rows; ++row) {
    if constexpr (std::is_same<T, float>::value) {
      sums[row] = c[row];
    } else {
      sums[row] = scratch->sums.data() + row * b.columns;
      if (add) {
        for (int64_t column = 0; column < b.columns; ++column) sums[row][column] = to_float(c[row][column]);
      }
    }
  }
  // Without depth the product is zero, and still there.
  for (int64_t first = 0; first == 0 || first < b.depth; first += kGemmDepth) {
    const int64_t count = b.depth - first < kGemmDepth ? b.depth - first : kGemmDepth;
    const bool last = first + kGemmDepth >= b.depth;
    fill(first, count, scratch->panel.data());
    gemm_panel(scratch->panel.data(), rows, b, first, add || first > 0, last ? &epilogue : nullptr, sums, ahead(first));
  }
  if constexpr (!std::is_same<T, float>::value) {
    for (int64_t row = 0; row < rows; ++row) gemm_store_row(sums[row], b.columns, c[row]);
  }
}
template <class T, class Fill>
KSEG_INLINE void gemm_tile(int64_t rows, const PackedB& b, const Epilogue& epilogue, bool add, T* const* c,
                           GemmScratch* scratch, const Fill& fill) {
  gemm_tile(rows, b, epilogue, add, c, scratch, fill, [](int64_t) { return GemmAhead(); });
}

// C [rows, columns] = A [rows, depth] * B, then the epilogue; rows of A and C lie `a_stride` and `c_stride` apart.
template <class TA, class TC>
void gemm(const TA* a, int64_t a_stride, int64_t rows, const PackedB& b, const Epilogue& epilogue, TC* c,
          int64_t c_stride, const ParallelFor& parallel_for);

KSEG_KERNEL_END

#endif  // KSEG_BASE_GEMM_H_
