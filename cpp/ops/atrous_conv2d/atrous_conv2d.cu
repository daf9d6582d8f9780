// An implicit matrix product: a block computes 128 pixels in raster order with up to 256 filters, and its depth are the
// taps that meet the map for any of these pixels, times the channels. Taps that lie in the padding for all of them are
// left out: at rate 36 on 64 x 64 pixels 37 % of the work.
//
// Reckoning for 16 x 64 x 64 x 2048 bfloat16 to 256 filters, 3 x 3 at rate 12: 618 GFLOP without the padding, of which
// the taps above and below leave out 12 %: some 0.95 ms at the 600 TFLOP/s that mma.sync reaches. Pieces of 32 channels
// come three deep by cp.async, 16 KB of filters and 8 KB of x for each 64 products of a warp; from L2, 512 blocks read
// 9.4 MB of filters each, 4.8 GB, 0.87 ms at 5.5 TB/s alongside. Float: 618 GFLOP at 67 TFLOP/s, 9 ms.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/tile_gemm.cuh"
#include "ops/atrous_conv2d/atrous_conv2d_check.h"
#include "ops/atrous_conv2d/atrous_conv2d_cuda.h"

namespace kseg {
namespace {

constexpr int kHalfDepth = 32;  // of a piece
constexpr int kFloatDepth = 16;
constexpr int kStages = 3;

template <class T>
struct Map {
  const T* data;  // [batch, rows, columns, channels]
  ConvAxis rows;
  ConvAxis columns;
  int64_t batch;
  int64_t channels;

  KSEG_HOST_DEVICE int64_t pixels() const { return batch * rows.output * columns.output; }
};

// The taps of an axis that meet the map for any of the outputs [first, last]: [begin, end).
struct TapRange {
  int64_t begin;
  int64_t end;

  KSEG_DEVICE TapRange(const ConvAxis& axis, int64_t first, int64_t last) {
    const int64_t above = axis.before - last, below = axis.input + axis.before - first;
    begin = above > 0 ? ceil_div(above, axis.rate) : 0;
    end = below > 0 ? min(ceil_div(below, axis.rate), axis.kernel) : 0;
    begin = min(begin, end);
  }
  KSEG_DEVICE int64_t count() const { return end - begin; }
};

// Goes through the pieces of depth of a tile: taps, and blocks of channels of each.
struct Pieces {
  TapRange rows;
  TapRange columns;
  int64_t channels;
  int64_t kernel_columns;
  int depth;
  int64_t row;
  int64_t column;
  int64_t channel = 0;

  template <class T>
  KSEG_DEVICE Pieces(const Map<T>& map, int64_t first_pixel, int piece_depth)
      : rows(map.rows, 0, map.rows.output - 1),
        columns(map.columns, 0, map.columns.output - 1),
        channels(map.channels),
        kernel_columns(map.columns.kernel),
        depth(piece_depth) {
    const int64_t last_pixel = min(first_pixel + kTileRows, map.pixels()) - 1;
    const int64_t first_row = first_pixel / map.columns.output, last_row = last_pixel / map.columns.output;
    const int64_t first_image = first_row / map.rows.output;
    if (first_image == last_row / map.rows.output) {
      rows = TapRange(map.rows, first_row - first_image * map.rows.output, last_row - first_image * map.rows.output);
    }
    if (first_row == last_row) {
      columns = TapRange(map.columns, first_pixel - first_row * map.columns.output,
                         last_pixel - first_row * map.columns.output);
    }
    row = rows.begin;
    column = columns.begin;
  }

  KSEG_DEVICE int64_t count() const { return rows.count() * columns.count() * ceil_div(channels, depth); }
  // Of the matrix of filters.
  KSEG_DEVICE int64_t first_row() const { return (row * kernel_columns + column) * channels + channel; }
  KSEG_DEVICE int filled() const { return static_cast<int>(min(channels - channel, static_cast<int64_t>(depth))); }
  KSEG_DEVICE void advance() {
    channel += depth;
    if (channel < channels) return;
    channel = 0;
    if (++column < columns.end) return;
    column = columns.begin;
    ++row;
  }
};

// One pixel of the output, and the input under its first tap.
template <class T>
struct Pixel {
  int64_t index;  // or negative: there is no such pixel
  int64_t y = 0;
  int64_t x = 0;
  const T* from;

  KSEG_DEVICE Pixel(const Map<T>& map, int64_t number) : index(number < map.pixels() ? number : -1), from(map.data) {
    if (index < 0) return;
    const int64_t row = number / map.columns.output, image = row / map.rows.output;
    y = row - image * map.rows.output - map.rows.before;
    x = number - row * map.columns.output - map.columns.before;
    from += ((image * map.rows.input + y) * map.columns.input + x) * map.channels;
  }

  // The channels of a piece at its tap, or null in the padding.
  KSEG_DEVICE const T* at(const Map<T>& map, const Pieces& piece) const {
    const int64_t down = piece.row * map.rows.rate, across = piece.column * map.columns.rate;
    const bool inside =
        index >= 0 && y + down >= 0 && y + down < map.rows.input && x + across >= 0 && x + across < map.columns.input;
    return inside ? from + (down * map.columns.input + across) * map.channels + piece.channel : nullptr;
  }
};

// kAligned: channels lie in aligned vectors of 8.
template <class T, int kTileColumns, bool kAligned>
__global__ void __launch_bounds__(kTileThreads, kTileColumns < 256 ? 2 : 1)
    half_kernel(const __grid_constant__ Map<T> map, const __grid_constant__ TileWeights<T> weights,
                const __grid_constant__ TileStart start, const __grid_constant__ TileOutput<T> output) {
  using Tile = HalfTile<T, kTileColumns, kHalfDepth>;
  constexpr int kParts = kHalfDepth / 8, kCopied = kTileThreads / kParts;  // rows at once
  constexpr int kRows = kTileRows / kCopied;  // of a thread
  KSEG_DYNAMIC_SHARED(buffer, T);  // [kStages] of x and of filters
  KSEG_SHARED(pixels, int64_t[kTileRows]);
  const int64_t column_tiles = ceil_div(weights.columns, kTileColumns);
  const int first_row = static_cast<int>(threadIdx.x) / kParts, part = static_cast<int>(threadIdx.x) % kParts * 8;
  const int64_t first_pixel = blockIdx.x / column_tiles * kTileRows;
  const int64_t first_column = blockIdx.x % column_tiles * kTileColumns;
  const Pixel<T> mine[kRows] = {Pixel<T>(map, first_pixel + first_row),
                                Pixel<T>(map, first_pixel + first_row + kCopied)};
  static_assert(kRows == 2);
  if (part == 0) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) pixels[first_row + i * kCopied] = mine[i].index;
  }
  Pieces next(map, first_pixel, kHalfDepth);
  const int64_t count = next.count();
  const auto bring = [&](int64_t piece) {
    if (piece < count) {
      T* const a = buffer + piece % kStages * (Tile::kAElements + Tile::kBElements);
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const T* const from = mine[i].at(map, next);
        T* const to = a + (first_row + i * kCopied) * Tile::kAStride + part;
        if constexpr (kAligned) {
          const bool valid = from != nullptr && part < next.filled();
          copy_async(to, valid ? from + part : map.data, valid);
        } else {
          Packed<T, 8> values;
#pragma unroll
          for (int v = 0; v < 8; ++v) {
            values.element[v] = from != nullptr && part + v < next.filled() ? from[part + v] : T{};
          }
          *reinterpret_cast<Packed<T, 8>*>(to) = values;
        }
      }
      Tile::copy_weights(weights, next.first_row(), next.filled(), first_column, a + Tile::kAElements);
      next.advance();
    }
    end_copy_group();
  };
  Tile tile;
  tile.clear();
  for (int64_t piece = 0; piece < kStages - 1; ++piece) bring(piece);
  if (start.data != nullptr) {
    __syncthreads();  // the pixels are there
    tile.begin_with(start, pixels, first_column);
  }
  for (int64_t piece = 0; piece < count; ++piece) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // this piece is there, and the one before has been read
    bring(piece + kStages - 1);
    const T* const a = buffer + piece % kStages * (Tile::kAElements + Tile::kBElements);
    tile.multiply(a, a + Tile::kAElements);
  }
  if (count == 0) __syncthreads();  // the pixels are there
  tile.store(output, pixels, first_column);
}

__global__ void __launch_bounds__(kTileThreads)
    float_kernel(const __grid_constant__ Map<float> map, const __grid_constant__ TileWeights<float> weights,
                 const __grid_constant__ TileStart start, const __grid_constant__ TileOutput<float> output) {
  using Tile = FloatTile<kFloatDepth>;
  constexpr int kChannels = kFloatDepth * kTileRows / kTileThreads;  // of a thread
  struct alignas(16) Buffers {
    float left[Tile::kAElements];
    float right[Tile::kBElements];
    int64_t pixels[kTileRows];
  };
  KSEG_SHARED(shared, Buffers);
  const int64_t column_tiles = ceil_div(weights.columns, kFloatTileColumns);
  const int row = static_cast<int>(threadIdx.x) % kTileRows;
  const int part = static_cast<int>(threadIdx.x) / kTileRows * kChannels;
  const int64_t first_pixel = blockIdx.x / column_tiles * kTileRows;
  const int64_t first_column = blockIdx.x % column_tiles * kFloatTileColumns;
  const Pixel<float> pixel(map, first_pixel + row);
  if (part == 0) shared.pixels[row] = pixel.index;
  Pieces piece(map, first_pixel, kFloatDepth);
  Tile tile;
  if (start.data != nullptr) {
    __syncthreads();  // the pixels are there
    tile.begin_with(start, shared.pixels, first_column);
  }
  const int64_t count = piece.count();
  for (int64_t index = 0; index < count; ++index, piece.advance()) {
    const float* const from = pixel.at(map, piece);
    float values[kChannels];
#pragma unroll
    for (int v = 0; v < kChannels; ++v) {
      values[v] = from != nullptr && part + v < piece.filled() ? from[part + v] : 0.0f;
    }
    __syncthreads();  // the piece before has been read
#pragma unroll
    for (int v = 0; v < kChannels; ++v) shared.left[(part + v) * Tile::kAStride + row] = values[v];
    Tile::copy_weights(weights, piece.first_row(), piece.filled(), first_column, shared.right);
    __syncthreads();
    tile.multiply(shared.left, shared.right, piece.filled());
  }
  if (count == 0) __syncthreads();
  tile.store(output, shared.pixels, first_column);
}

template <class T, int kTileColumns, bool kAligned>
Status launch_half(const Map<T>& map, const TileWeights<T>& weights, const TileStart& start,
                   const TileOutput<T>& output, const CudaContext& context) {
  using Tile = HalfTile<T, kTileColumns, kHalfDepth>;
  constexpr int64_t kBytes = kStages * (Tile::kAElements + Tile::kBElements) * sizeof(T);
  const int64_t units = ceil_div(map.pixels(), kTileRows) * ceil_div(weights.columns, kTileColumns);
  return launch(&half_kernel<T, kTileColumns, kAligned>, tile_blocks(units, kBytes), context, map, weights, start,
                output);
}

}  // namespace

template <class T>
Status atrous_conv2d_part_cuda(const AtrousConv2dArgs<T>& args, int64_t stride, const float* start_data,
                               const CudaContext& context) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(check_atrous_conv2d(args, &rows, &columns));
  if (args.output.empty()) return Status();
  const Epilogue epilogue{args.scale.empty() ? nullptr : args.scale.data,
                          args.offset.empty() ? nullptr : args.offset.data, args.activation};
  const int64_t channels = args.x.shape[3], filters = args.output.shape[3];
  const Map<T> map{args.x.data, rows, columns, args.x.shape[0], channels};
  const TileStart start{start_data, filters, rows.output * columns.output};
  const TileOutput<T> output(args.output.data, filters, stride, epilogue);
  const int64_t row_tiles = ceil_div(map.pixels(), kTileRows);
  if constexpr (sizeof(T) == 4) {
    const TileWeights<T> weights{args.filters.data, filters, filters};
    return launch(&float_kernel, tile_blocks(row_tiles * ceil_div(filters, kFloatTileColumns)), context, map, weights,
                  start, output);
  } else {
    TileWeights<T> weights;
    KSEG_RETURN_IF_ERROR(
        align_weights(args.filters.data, rows.kernel * columns.kernel * channels, filters, context, &weights));
    if (!rows_are_aligned(args.x.data, channels, 8)) {
      return launch_half<T, 64, false>(map, weights, start, output, context);
    }
    switch (half_tile_columns(row_tiles, filters)) {
      case 256:
        return launch_half<T, 256, true>(map, weights, start, output, context);
      case 128:
        return launch_half<T, 128, true>(map, weights, start, output, context);
      default:
        return launch_half<T, 64, true>(map, weights, start, output, context);
    }
  }
}

template <class T>
Status atrous_conv2d_cuda(const AtrousConv2dArgs<T>& args, const CudaContext& context) {
  return atrous_conv2d_part_cuda(args, args.output.shape[3], nullptr, context);
}

#define KSEG_INSTANTIATE(T)                                                                       \
  template KSEG_API Status atrous_conv2d_cuda<T>(const AtrousConv2dArgs<T>&, const CudaContext&); \
  template Status atrous_conv2d_part_cuda<T>(const AtrousConv2dArgs<T>&, int64_t, const float*, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
