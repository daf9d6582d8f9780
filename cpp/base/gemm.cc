#include <algorithm>
#include <utility>

#include "base/gemm_types.h"
#include "base/half.h"
#include "base/parallel_for.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "base/gemm.h"           // target code only
#include "base/gemm_activate.h"  // target code only

KSEG_KERNEL_BEGIN
namespace {

KSEG_INLINE VecF finish(VecF value, const float* scale, const float* offset, Activation activation) {
  if (scale) value = value * load(scale);
  if (offset) value = value + load(offset);
  return activate(value, activation);
}

// a + b. Of two NaNs it gives a, also where the compiler would rather have them the other way round: it does so in one
// microkernel and not in the next, and the sign of a NaN would tell how many rows the tile has.
KSEG_INLINE VecF add_in_order(VecF a, VecF b) {
#if defined(KSEG_TARGET_AVX512) || defined(KSEG_TARGET_AVX2)
  asm("vaddps %1, %0, %0" : "+v"(a) : "v"(b));
  return a;
#elif KSEG_X86
  asm("addps %1, %0" : "+x"(a) : "x"(b));
  return a;
#else
  return a + b;
#endif
}

struct Fetch {
  const char* at;
  int64_t step;  // bytes per four depths
};

template <int rows>
__attribute__((noinline)) void microkernel(const float* a, const float* b, int64_t depth, float* const* c,
                                           int64_t column, bool add, const Epilogue* epilogue, Fetch fetch) {
  int64_t k = 0;
  // Without depth the product is zero, and still there.
  do {
    const int64_t end = std::min(k + kGemmChain, depth);
    VecF left[rows], right[rows];
    for (int r = 0; r < rows; ++r) left[r] = VecF{}, right[r] = VecF{};
    for (; k + 4 <= end; k += 4) {
      __builtin_prefetch(fetch.at, 0, 2);
      fetch.at += fetch.step;
#pragma GCC unroll 4
      for (int u = 0; u < 4; ++u) {
        const VecF b_left = load(b), b_right = load(b + kLanesF);
        b += kGemmColumns;
#pragma GCC unroll 14
        for (int r = 0; r < rows; ++r) {
          const VecF value = splat(a[r * kGemmStride + k + u]);
          left[r] += value * b_left;
          right[r] += value * b_right;
        }
      }
    }
    for (; k < end; ++k) {
      const VecF b_left = load(b), b_right = load(b + kLanesF);
      b += kGemmColumns;
#pragma GCC unroll 14
      for (int r = 0; r < rows; ++r) {
        const VecF value = splat(a[r * kGemmStride + k]);
        left[r] += value * b_left;
        right[r] += value * b_right;
      }
    }
    if (add) {
      for (int r = 0; r < rows; ++r) {
        left[r] = add_in_order(load(c[r] + column), left[r]);
        right[r] = add_in_order(load(c[r] + column + kLanesF), right[r]);
      }
    }
    if (epilogue && k == depth) {
      const float* const scale = epilogue->scale ? epilogue->scale + column : nullptr;
      const float* const offset = epilogue->offset ? epilogue->offset + column : nullptr;
      const Activation activation = epilogue->activation;
      for (int r = 0; r < rows; ++r) {
        left[r] = finish(left[r], scale, offset, activation);
        right[r] = finish(right[r], scale ? scale + kLanesF : nullptr, offset ? offset + kLanesF : nullptr, activation);
      }
    }
    for (int r = 0; r < rows; ++r) store(c[r] + column, left[r]), store(c[r] + column + kLanesF, right[r]);
    add = true;
  } while (k < depth);
}

using Microkernel = void (*)(const float*, const float*, int64_t, float* const*, int64_t, bool, const Epilogue*, Fetch);
template <int... index>
KSEG_INLINE Microkernel microkernel_of(int64_t rows, std::integer_sequence<int, index...>) {
  static constexpr Microkernel kAll[] = {microkernel<index + 1>...};
  return kAll[rows - 1];
}
KSEG_INLINE Microkernel microkernel_of(int64_t rows) {
  return microkernel_of(rows, std::make_integer_sequence<int, kGemmRows>());
}

// Deals out what is to be fetched over the calls of the microkernel.
struct Fetcher {
  const GemmAhead& ahead;
  int64_t calls;
  int64_t per_call;
  int64_t call;
  int64_t row;

  // Each call fetches part of a row while it multiplies; what would not fit in is fetched beforehand.
  __attribute__((always_inline)) Fetch next(const float* fallback, int64_t depth) {
    Fetch fetch{reinterpret_cast<const char*>(fallback), 0};
    ++call;
    if (ahead.count == 0) return fetch;
    const int64_t until = ahead.count * call / calls;
    if (row >= until) return fetch;
    const int64_t lines = (ahead.bytes + 63) / 64;
    const int64_t steps = depth / 4 > 0 ? depth / 4 : 1;
    fetch.at = static_cast<const char*>(ahead.rows[row++]);
    // Steps of less than a cache line where the row is shorter than that many lines.
    fetch.step = lines >= steps ? 64 : ahead.bytes / steps;
    while (row < until) {
      const char* const at = static_cast<const char*>(ahead.rows[row++]);
      for (int64_t line = 0; line < lines; ++line) __builtin_prefetch(at + line * 64, 0, 2);
    }
    return fetch;
  }
};

}  // namespace

void gemm_panel(const float* panel, int64_t rows, const PackedB& b, int64_t first_depth, bool add,
                const Epilogue* epilogue, float* const* c, const GemmAhead& ahead) {
  const int64_t depth = std::min(b.depth - first_depth, kGemmDepth);
  const int64_t padded = gemm_padded_columns(b.columns);
  const float* const block = b.data + first_depth * padded;
  const int64_t pieces = (rows + kGemmRows - 1) / kGemmRows;
  Fetcher fetcher{ahead, pieces * (padded / kGemmColumns), 0, 0, 0};
  for (int64_t column = 0; column < b.columns; column += kGemmColumns) {
    const float* const strip = block + column * depth;
    const int64_t valid = std::min<int64_t>(b.columns - column, kGemmColumns);
    alignas(KSEG_VECTOR_BYTES) float edge[kGemmRows][kGemmColumns];
    float edge_scale[kGemmColumns], edge_offset[kGemmColumns];
    Epilogue edge_epilogue;
    if (valid < kGemmColumns && epilogue) {
      edge_epilogue.activation = epilogue->activation;
      for (int i = 0; i < kGemmColumns; ++i) {
        edge_scale[i] = epilogue->scale && i < valid ? epilogue->scale[column + i] : 1;
        edge_offset[i] = epilogue->offset && i < valid ? epilogue->offset[column + i] : 0;
      }
      if (epilogue->scale) edge_epilogue.scale = edge_scale;
      if (epilogue->offset) edge_epilogue.offset = edge_offset;
    }
    int64_t row = 0;
    for (int64_t piece = 0; piece < pieces; ++piece) {
      const int64_t count = (rows - row) / (pieces - piece);  // pieces of about equal size
      const float* const a = panel + row * kGemmStride;
      const Fetch fetch = fetcher.next(panel, depth);
      if (valid == kGemmColumns) {
        microkernel_of(count)(a, strip, depth, c + row, column, add, epilogue, fetch);
      } else {
        float* edge_rows[kGemmRows];
        for (int64_t r = 0; r < count; ++r) {
          edge_rows[r] = edge[r];
          for (int64_t i = 0; add && i < kGemmColumns; ++i) edge[r][i] = i < valid ? c[row + r][column + i] : 0;
        }
        microkernel_of(count)(a, strip, depth, edge_rows, 0, add, epilogue ? &edge_epilogue : nullptr, fetch);
        for (int64_t r = 0; r < count; ++r) {
          for (int64_t i = 0; i < valid; ++i) c[row + r][column + i] = edge[r][i];
        }
      }
      row += count;
    }
  }
}

template <class T>
void gemm_pack(const T* b, int64_t depth, int64_t columns, const float* scale, float* packed,
               const ParallelFor& parallel_for) {
  const int64_t padded = gemm_padded_columns(columns);
  // A unit is 16 rows of B: read along, written to as many places as there are strips.
  constexpr int64_t kUnit = 16;
  parallel_for.run((depth + kUnit - 1) / kUnit, kUnit * padded / 2, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(end * kUnit, depth);
    for (int64_t k = begin * kUnit; k < last; ++k) {
      const int64_t first = k / kGemmDepth * kGemmDepth;
      const int64_t count = std::min(depth - first, kGemmDepth);
      const T* const from = b + k * columns;
      float* to = packed + first * padded + (k - first) * kGemmColumns;
      int64_t column = 0;
      for (; column + kGemmColumns <= columns; column += kGemmColumns, to += count * kGemmColumns) {
        VecF left = load_float(from + column), right = load_float(from + column + kLanesF);
        if (scale) left *= load(scale + column), right *= load(scale + column + kLanesF);
        store(to, left);
        store(to + kLanesF, right);
      }
      if (column < columns) {
        for (int64_t i = 0; i < kGemmColumns; ++i) {
          const bool inside = column + i < columns;
          to[i] = inside ? to_float(from[column + i]) * (scale ? scale[column + i] : 1) : 0;
        }
      }
    }
  });
}

template <class T>
void gemm_store_row(const float* from, int64_t count, T* to) {
  int64_t i = 0;
  for (; i + kLanesF <= count; i += kLanesF) store_float(to + i, load(from + i));
  for (; i < count; ++i) to[i] = from_float<T>(from[i]);
}

template <class T>
void gemm_fill_panel(const T* const* rows, int64_t row_count, int64_t count, float* panel) {
  for (int64_t row = 0; row < row_count; ++row, panel += kGemmStride) {
    const T* const from = rows[row];
    int64_t i = 0;
    for (; i + kLanesF <= count; i += kLanesF) store(panel + i, load_float(from + i));
    for (; i < count; ++i) panel[i] = to_float(from[i]);
  }
}

void apply_epilogue(const Epilogue& epilogue, int64_t count, float* values) {
  for (int64_t i = 0; i < count; i += kLanesF) {
    const int64_t lanes = std::min<int64_t>(count - i, kLanesF);
    if (lanes == kLanesF) {
      store(values + i, finish(load(values + i), epilogue.scale ? epilogue.scale + i : nullptr,
                               epilogue.offset ? epilogue.offset + i : nullptr, epilogue.activation));
      continue;
    }
    float value[kLanesF] = {}, scale[kLanesF] = {}, offset[kLanesF] = {};
    for (int64_t lane = 0; lane < lanes; ++lane) {
      value[lane] = values[i + lane];
      if (epilogue.scale) scale[lane] = epilogue.scale[i + lane];
      if (epilogue.offset) offset[lane] = epilogue.offset[i + lane];
    }
    store(value, finish(load(value), epilogue.scale ? scale : nullptr, epilogue.offset ? offset : nullptr,
                        epilogue.activation));
    for (int64_t lane = 0; lane < lanes; ++lane) values[i + lane] = value[lane];
  }
}

template <class TA, class TC>
void gemm(const TA* a, int64_t a_stride, int64_t rows, const PackedB& b, const Epilogue& epilogue, TC* c,
          int64_t c_stride, const ParallelFor& parallel_for) {
  // Eight microkernels high, or less where that would leave threads without work.
  const int64_t pieces = (rows + kGemmRows - 1) / kGemmRows;
  const int64_t tile_rows = kGemmRows * std::clamp<int64_t>(pieces / (2 * parallel_for.max_threads()), 1, 8);
  const int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  parallel_for.run(tiles, tile_rows * (b.depth + 1) * b.columns / 16, [&](int64_t begin, int64_t end) {
    GemmScratch scratch(tile_rows, b, !std::is_same<TC, float>::value);
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t first_row = tile * tile_rows;
      const int64_t count = std::min(rows - first_row, tile_rows);
      TC* c_rows[kMostTileRows];
      const TA* a_rows[kMostTileRows];
      const void* next[kMostTileRows];
      for (int64_t row = 0; row < count; ++row) c_rows[row] = c + (first_row + row) * c_stride;
      gemm_tile(
          count, b, epilogue, /*add=*/false, c_rows, &scratch,
          [&](int64_t first, int64_t depth, float* panel) {
            for (int64_t row = 0; row < count; ++row) a_rows[row] = a + (first_row + row) * a_stride + first;
            gemm_fill_panel(a_rows, count, depth, panel);
          },
          [&](int64_t first) {
            int64_t depth = first + kGemmDepth, row = first_row, ahead = count;
            if (depth >= b.depth) depth = 0, row += tile_rows, ahead = std::min(rows - row, tile_rows);
            if (row >= end * tile_rows || ahead <= 0) return GemmAhead();
            for (int64_t i = 0; i < ahead; ++i) next[i] = a + (row + i) * a_stride + depth;
            const int64_t bytes = std::min(b.depth - depth, kGemmDepth) * static_cast<int64_t>(sizeof(TA));
            return GemmAhead{next, ahead, bytes};
          });
    }
  });
}

#define KSEG_INSTANTIATE(T)                                                                          \
  template void gemm_pack<T>(const T*, int64_t, int64_t, const float*, float*, const ParallelFor&);  \
  template void gemm_store_row<T>(const float*, int64_t, T*);                                        \
  template void gemm_fill_panel<T>(const T* const*, int64_t, int64_t, float*);                       \
  template void gemm<T, T>(const T*, int64_t, int64_t, const PackedB&, const Epilogue&, T*, int64_t, \
                           const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE
template void gemm<Half, float>(const Half*, int64_t, int64_t, const PackedB&, const Epilogue&, float*, int64_t,
                                const ParallelFor&);
template void gemm<BFloat16, float>(const BFloat16*, int64_t, int64_t, const PackedB&, const Epilogue&, float*, int64_t,
                                    const ParallelFor&);

KSEG_KERNEL_END
