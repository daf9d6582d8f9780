// Products of tiles for convolutions: a block of 256 threads multiplies kTileRows rows (pixels) by a tile of columns
// (filters), a piece of the depth at a time, which the kernel brings to shared memory. HalfTile does it on tensor
// cores, FloatTile with plain fused multiply-adds: what is not a number or infinite stays so, which splitting floats
// for tensor cores would lose. An element is a sum in the order of depth: it does not depend on the size of tiles.
#ifndef KSEG_BASE_CUDA_TILE_GEMM_CUH_
#define KSEG_BASE_CUDA_TILE_GEMM_CUH_

#include <cstdint>

#include "base/cuda/activation.cuh"
#include "base/cuda/device.cuh"
#include "base/cuda/launch.cuh"
#include "base/cuda/mma.cuh"
#include "base/cuda/vector.cuh"
#include "base/half.h"

namespace kseg {

inline constexpr int kTileThreads = 256;
inline constexpr int kTileRows = 128;
inline constexpr int kFloatTileColumns = 128;

// The matrix on the right, [depth][columns], rows `stride` elements apart. For HalfTile rows are aligned to 16 bytes
// and zeros from `columns` to `stride`.
template <class T>
struct TileWeights {
  const T* data;
  int64_t columns;
  int64_t stride;
};

template <class T>
struct TileOutput {
  T* data;  // [pixels][columns], rows `stride` elements apart
  int64_t columns;
  int64_t stride;
  Epilogue epilogue;
  bool pairs;  // two columns can be written at once

  TileOutput(T* to, int64_t column_count, int64_t row_stride, const Epilogue& after)
      : data(to),
        columns(column_count),
        stride(row_stride),
        epilogue(after),
        pairs(rows_are_aligned(to, row_stride, 2)) {}
};

// What sums begin with: zeros, or a row for each image.
struct TileStart {
  const float* data;  // [images][columns], or null
  int64_t columns;
  int64_t image_pixels;

  // Of the image that a pixel of the output is in.
  KSEG_DEVICE const float* row(int64_t pixel) const { return data + pixel / image_pixels * columns; }
};

// Half or BFloat16. Shared memory of a piece of depth: a[kTileRows][kAStride], b[kDepth][kBStride].
template <class T, int kTileColumns, int kDepth>
struct HalfTile {
  static_assert(kTileColumns % 64 == 0 && kTileColumns <= 256 && kDepth % 16 == 0);
  static constexpr int kAcross = kTileColumns / 64;                 // warps; each takes 64 columns
  static constexpr int kDown = kTileThreads / kWarpSize / kAcross;  // warps
  static constexpr int kRowTiles = kTileRows / kDown / 16;          // of a warp
  static constexpr int kColumnTiles = 8;
  // 8 rows of matrices of 16 bytes fall on different banks.
  static constexpr int kAStride = kDepth + 8;
  static constexpr int kBStride = kTileColumns + 8;
  static constexpr int kAElements = kTileRows * kAStride;
  static constexpr int kBElements = kDepth * kBStride;

  float sum[kRowTiles][kColumnTiles][4];

  KSEG_DEVICE void clear() {
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) {
#pragma unroll
        for (int r = 0; r < 4; ++r) sum[i][j][r] = 0.0f;
      }
    }
  }

  // Sets the sums to a start that is not null. `pixels` as for store().
  KSEG_DEVICE void begin_with(const TileStart& start, const int64_t* pixels, int64_t first_column) {
    const int lane = lane_index(), warp = warp_index();
    const int first_row = warp / kAcross * kRowTiles * 16 + lane / 4;
    const int64_t first = first_column + warp % kAcross * 64 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t pixel = pixels[first_row + i * 16 + half * 8];
        const float* const from = pixel < 0 ? nullptr : start.row(pixel);
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            const int64_t column = first + j * 8 + r;
            sum[i][j][half * 2 + r] = pixel >= 0 && column < start.columns ? from[column] : 0.0f;
          }
        }
      }
    }
  }

  // Asks for rows [first_row, first_row + rows) of the columns from `first_column` on; zeros fill the rest.
  static KSEG_DEVICE void copy_weights(const TileWeights<T>& weights, int64_t first_row, int rows, int64_t first_column,
                                       T* b) {
    constexpr int kParts = kTileColumns / 8;
#pragma unroll
    for (int i = 0; i < kDepth * kParts / kTileThreads + (kDepth * kParts % kTileThreads != 0); ++i) {
      const int item = static_cast<int>(threadIdx.x) + i * kTileThreads;
      if (kDepth * kParts % kTileThreads != 0 && item >= kDepth * kParts) break;
      const int row = item / kParts, column = item % kParts * 8;
      const bool valid = row < rows && first_column + column < weights.stride;
      const T* const from = weights.data + (first_row + row) * weights.stride + first_column + column;
      copy_async(b + row * kBStride + column, valid ? from : weights.data, valid);
    }
  }

  KSEG_DEVICE void multiply(const T* a, const T* b) {
    const int lane = lane_index(), warp = warp_index();
    const T* const rows = a + (warp / kAcross * kRowTiles * 16 + lane % 16) * kAStride + lane / 16 * 8;
    const T* const columns = b + lane % 16 * kBStride + warp % kAcross * 64 + lane / 16 * 8;
#pragma unroll
    for (int k = 0; k < kDepth; k += 16) {
      uint32_t right[kColumnTiles / 2][4];
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j) load_matrices<true>(columns + k * kBStride + j * 16, right[j]);
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
        uint32_t left[4];
        load_matrices<false>(rows + i * 16 * kAStride + k, left);
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) {
          const uint32_t pair[2] = {right[j / 2][j % 2 * 2], right[j / 2][j % 2 * 2 + 1]};
          mma_16x8x16<T>(left, pair, sum[i][j]);
        }
      }
    }
  }

  // `pixels`: of each row of the tile its row of the output, or a negative number.
  KSEG_DEVICE void store(const TileOutput<T>& output, const int64_t* pixels, int64_t first_column) const {
    const int lane = lane_index(), warp = warp_index();
    const int first_row = warp / kAcross * kRowTiles * 16 + lane / 4;
    const int64_t first = first_column + warp % kAcross * 64 + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kColumnTiles; ++j) {
      const int64_t column = first + j * 8;
      if (column >= output.columns) continue;
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int64_t pixel = pixels[first_row + i * 16 + half * 8];
          if (pixel < 0) continue;
          T* const to = output.data + pixel * output.stride + column;
          const T low = narrow<T>(apply_epilogue(output.epilogue, column, sum[i][j][half * 2]));
          if (column + 1 >= output.columns) {
            *to = low;
            continue;
          }
          const T high = narrow<T>(apply_epilogue(output.epilogue, column + 1, sum[i][j][half * 2 + 1]));
          if (output.pairs) {
            *reinterpret_cast<uint32_t*>(to) = pack_pair(low, high);
          } else {
            to[0] = low;
            to[1] = high;
          }
        }
      }
    }
  }
};

// Shared memory: a[kDepth][kAStride], the tile's rows side by side, b[kDepth][kFloatTileColumns]. A thread takes 8 x 8.
template <int kDepth>
struct FloatTile {
  static constexpr int kSide = 8;
  static constexpr int kAStride = kTileRows + 4;
  static constexpr int kAElements = kDepth * kAStride;
  static constexpr int kBElements = kDepth * kFloatTileColumns;

  float sum[kSide][kSide] = {};

  static KSEG_DEVICE int first_row() { return static_cast<int>(threadIdx.x) / 16 * kSide; }
  // Columns [4i, 4i + 4) of either half of the tile: neighbours read neighbouring vectors.
  static KSEG_DEVICE int column(int j) {
    return static_cast<int>(threadIdx.x) % 16 * 4 + j / 4 * (kFloatTileColumns / 2) + j % 4;
  }

  // As those of HalfTile.
  KSEG_DEVICE void begin_with(const TileStart& start, const int64_t* pixels, int64_t first_column) {
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
      const int64_t pixel = pixels[first_row() + i];
      const float* const from = pixel < 0 ? nullptr : start.row(pixel);
#pragma unroll
      for (int j = 0; j < kSide; ++j) {
        const int64_t at = first_column + column(j);
        sum[i][j] = pixel >= 0 && at < start.columns ? from[at] : 0.0f;
      }
    }
  }

  static KSEG_DEVICE void copy_weights(const TileWeights<float>& weights, int64_t first_row, int rows,
                                       int64_t first_column, float* b) {
    for (int item = threadIdx.x; item < kBElements; item += kTileThreads) {
      const int row = item / kFloatTileColumns;
      const int64_t at = first_column + item % kFloatTileColumns;
      const bool valid = row < rows && at < weights.columns;
      b[item] = valid ? weights.data[(first_row + row) * weights.stride + at] : 0.0f;
    }
  }

  // The first `depth` of a piece: zeros beyond it would not do, as they meet what is infinite.
  KSEG_DEVICE void multiply(const float* a, const float* b, int depth) {
#pragma unroll 2
    for (int k = 0; k < depth; ++k) {
      float left[kSide], right[kSide], part[4];
#pragma unroll
      for (int i = 0; i < kSide; i += 4) {
        load_floats(a + k * kAStride + first_row() + i, part);
#pragma unroll
        for (int r = 0; r < 4; ++r) left[i + r] = part[r];
        load_floats(b + k * kFloatTileColumns + column(i), part);
#pragma unroll
        for (int r = 0; r < 4; ++r) right[i + r] = part[r];
      }
#pragma unroll
      for (int i = 0; i < kSide; ++i) {
#pragma unroll
        for (int j = 0; j < kSide; ++j) sum[i][j] = fmaf(left[i], right[j], sum[i][j]);
      }
    }
  }

  KSEG_DEVICE void store(const TileOutput<float>& output, const int64_t* pixels, int64_t first_column) const {
#pragma unroll
    for (int i = 0; i < kSide; ++i) {
      const int64_t pixel = pixels[first_row() + i];
      if (pixel < 0) continue;
#pragma unroll
      for (int j = 0; j < kSide; ++j) {
        const int64_t at = first_column + column(j);
        if (at >= output.columns) continue;
        output.data[pixel * output.stride + at] = apply_epilogue(output.epilogue, at, sum[i][j]);
      }
    }
  }
};

// A block per tile: it has no registers to spare for a way to the next one. More than 2**31 tiles are refused.
inline LaunchShape tile_blocks(int64_t tiles, int64_t shared_bytes = 0) {
  return {{tiles, 1, 1}, {kTileThreads, 1, 1}, shared_bytes};
}

// Columns of the tiles of HalfTile: as many as the matrix has, up to 256, but not so many that multiprocessors lie
// idle.
inline int half_tile_columns(int64_t row_tiles, int64_t columns) {
  int tile = 256;
  while (tile > 64 && (columns <= tile / 2 || row_tiles * ceil_div(columns, tile) < multiprocessors())) tile /= 2;
  return tile;
}

template <class T>
__global__ void __launch_bounds__(kTileThreads)
    pad_weights_kernel(const T* from, int64_t columns, int64_t stride, int64_t total, T* to) {
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    const int64_t row = index / stride, column = index - row * stride;
    to[index] = column < columns ? from[row * columns + column] : T{};
  }
}

// The matrix [depth][columns] as HalfTile wants it: as it is, or copied to scratch memory.
template <class T>
Status align_weights(const T* from, int64_t depth, int64_t columns, const CudaContext& context,
                     TileWeights<T>* weights) {
  *weights = {from, columns, columns};
  if (rows_are_aligned(from, columns, 8)) return Status();
  weights->stride = ceil_div(columns, 8) * 8;
  T* to = nullptr;
  const int64_t total = depth * weights->stride;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(total, &to));
  weights->data = to;
  return launch(&pad_weights_kernel<T>, threads_for(total, kTileThreads), context, from, columns, weights->stride,
                total, to);
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_TILE_GEMM_CUH_
