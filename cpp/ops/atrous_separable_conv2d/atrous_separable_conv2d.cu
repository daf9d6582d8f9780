// A block computes 128 pixels of the result with up to 256 filters: 16 channels at a time of the depthwise result go to
// shared memory, where the tensor cores (or, of floats, fused multiply-adds) take them from. Nothing in between is
// written to memory.
//
// Reckoning for 16 x 64 x 64 x 2048 bfloat16 to 256 filters at rate 12: memory 268 + 34 MB, 0.063 ms at 4.8 TB/s. 512
// blocks of 128 pixels with all 256 filters, 3.9 turns of 132 multiprocessors, 128 pieces of depth each. Of a piece, a
// scheduler has 64 products of 16 x 8 x 16 (some 420 cycles at the rate that mma.sync reaches) and 400 instructions of
// the depthwise convolution; half of the warps begin with the one and half with the other, so that they go on side by
// side: 0.15 to 0.23 ms in all. The nine taps of the next piece but one are loaded to registers a whole piece ahead.
// From L2: the filters, 1 MB per block, and x about twice (blocks take rows that share their taps), 1.1 GB, 0.2 ms at
// 5.5 TB/s, alongside. As two convolutions: 268 MB written and read again, and a depthwise kernel of its own.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/tile_gemm.cuh"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_check.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_cuda.h"
#include "ops/atrous_separable_conv2d/separable_middle.cuh"

namespace kseg {
namespace {

constexpr int kDepth = 16;  // of a piece; two threads per row of the tile compute half of it each
constexpr int kTaps = 9;  // of the filters for which there is a kernel of its own
constexpr int kTapRows = kTaps + 2;
static_assert(kTileThreads == 2 * kTileRows && kDepth == 2 * kMiddleVector);

template <class T, int kTileColumns>
struct alignas(16) HalfBuffers {
  using Tile = HalfTile<T, kTileColumns, kDepth>;
  T middle[2][Tile::kAElements];
  T weights[3][Tile::kBElements];
  float taps[2][kTapRows][kDepth];  // filters of the depthwise convolution, then its scale and offset
  int64_t pixels[kTileRows];
};

// The depthwise convolution of one thread's pixel, 3 x 3 taps, no multiplier, channels in aligned vectors of 8.
template <class T>
class NineTaps {
 public:
  KSEG_DEVICE NineTaps(const SeparableMiddle<T>& middle, const MiddlePixel& pixel) : middle_(middle) {
    const int64_t row_size = middle.columns.input * middle.in_channels;
    const int64_t y = pixel.output >= 0 ? pixel.y : 0;
    from_ = middle.x + (pixel.image * middle.rows.input + y) * row_size + pixel.x * middle.in_channels;
    for (int tap = 0; tap < kTaps; ++tap) {
      const int64_t row = pixel.y + tap / 3 * middle.rows.rate, column = pixel.x + tap % 3 * middle.columns.rate;
      const bool inside = row >= 0 && row < middle.rows.input && column >= 0 && column < middle.columns.input;
      if (pixel.output >= 0 && inside) inside_ |= 1u << tap;
    }
  }

  // Begins to load the taps.
  KSEG_DEVICE void load(int channel) {
    channel_ = channel;
    if (channel >= middle_.channels) return;
    const int64_t down = middle_.rows.rate * middle_.columns.input * middle_.in_channels;
    const int64_t across = middle_.columns.rate * middle_.in_channels;
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
      if ((inside_ >> tap & 1u) == 0) continue;
      const T* const at = from_ + tap / 3 * down + tap % 3 * across + channel;
      check_aligned<kMiddleVector>(at);
      value_[tap] = *reinterpret_cast<const Packed<uint32_t, kMiddleVector / 2>*>(at);
    }
  }

  // `taps`: those of the thread's channels in the table. Writes kMiddleVector elements.
  KSEG_DEVICE void finish(const float* taps, T* to) const {
    float sum[kMiddleVector] = {};
    if (channel_ < middle_.channels && inside_ != 0) {
#pragma unroll
      for (int tap = 0; tap < kTaps; ++tap) {
        if ((inside_ >> tap & 1u) == 0) continue;
#pragma unroll
        for (int first = 0; first < kMiddleVector; first += 4) {
          float weight[4];
          load_floats(taps + tap * kDepth + first, weight);
#pragma unroll
          for (int v = 0; v < 4; v += 2) {
            float low, high;
            widen_pair<T>(value_[tap].element[(first + v) / 2], &low, &high);
            sum[first + v] = fmaf(weight[v], low, sum[first + v]);
            sum[first + v + 1] = fmaf(weight[v + 1], high, sum[first + v + 1]);
          }
        }
      }
    }
    if (channel_ < middle_.channels) {
#pragma unroll
      for (int v = 0; v < kMiddleVector; ++v) {
        const float mapped = sum[v] * taps[kTaps * kDepth + v] + taps[(kTaps + 1) * kDepth + v];
        sum[v] = activate(mapped, middle_.epilogue.activation);
      }
    }
    store_floats(to, sum);
  }

  // Of the table for channels from `channel` on, what this thread brings.
  static KSEG_DEVICE float load_table(const SeparableMiddle<T>& middle, int channel) {
    const int row = static_cast<int>(threadIdx.x) / kDepth;
    channel += static_cast<int>(threadIdx.x) % kDepth;
    if (row >= kTapRows || channel >= middle.channels) return 0.0f;
    if (row < kTaps) return widen(middle.filters[static_cast<int64_t>(row) * middle.channels + channel]);
    const float* const values = row == kTaps ? middle.epilogue.scale : middle.epilogue.offset;
    if (values == nullptr) return row == kTaps ? 1.0f : 0.0f;
    return values[channel];
  }
  static KSEG_DEVICE void store_table(float value, float (*table)[kDepth]) {
    const int row = static_cast<int>(threadIdx.x) / kDepth;
    if (row < kTapRows) table[row][threadIdx.x % kDepth] = value;
  }

 private:
  const SeparableMiddle<T>& middle_;
  const T* from_;
  unsigned inside_ = 0;  // a bit per tap
  int channel_ = 0;
  Packed<uint32_t, kMiddleVector / 2> value_[kTaps];  // pairs of T, not taken apart before they are needed
};

// Any filters: computed when it is needed.
template <class T>
class AnyTaps {
 public:
  KSEG_DEVICE AnyTaps(const SeparableMiddle<T>& middle, const MiddlePixel& pixel) : middle_(middle), pixel_(pixel) {}

  KSEG_DEVICE void load(int channel) { channel_ = channel; }
  KSEG_DEVICE void finish(const float*, T* to) const {
    float result[kMiddleVector];
    compute_middle<1>(middle_, pixel_, channel_, result);
    store_floats(to, result);
  }
  static KSEG_DEVICE float load_table(const SeparableMiddle<T>&, int) { return 0.0f; }
  static KSEG_DEVICE void store_table(float, float (*)[kDepth]) {}

 private:
  const SeparableMiddle<T>& middle_;
  const MiddlePixel& pixel_;
  int channel_ = 0;
};

template <class T, int kTileColumns, template <class> class Taps>
__global__ void __launch_bounds__(kTileThreads)
    half_kernel(const __grid_constant__ SeparableMiddle<T> middle, const __grid_constant__ TileWeights<T> weights,
                const __grid_constant__ TileOutput<T> output) {
  using Tile = HalfTile<T, kTileColumns, kDepth>;
  KSEG_SHARED(shared, HalfBuffers<T, kTileColumns>);
  const int64_t column_tiles = ceil_div(weights.columns, kTileColumns);
  const int64_t first_column = blockIdx.x % column_tiles * kTileColumns;
  const int row = static_cast<int>(threadIdx.x) / 2, half = static_cast<int>(threadIdx.x) % 2 * kMiddleVector;
  const int pieces = (middle.channels + kDepth - 1) / kDepth;
  const MiddlePixel pixel(middle, blockIdx.x / column_tiles * kTileRows + row);
  if (half == 0) shared.pixels[row] = pixel.output;
  const auto copy_weights = [&](int piece) {
    if (piece < pieces) {
      const int first = piece * kDepth;
      Tile::copy_weights(weights, first, min(middle.channels - first, kDepth), first_column, shared.weights[piece % 3]);
    }
    end_copy_group();
  };
  copy_weights(0);
  copy_weights(1);
  for (int piece = 0; piece < 2; ++piece) {
    Taps<T>::store_table(Taps<T>::load_table(middle, piece * kDepth), shared.taps[piece]);
  }
  __syncthreads();
  Taps<T> taps(middle, pixel);
  const auto compute = [&](int piece) {
    T* const to = shared.middle[piece % 2] + row * Tile::kAStride + half;
    taps.finish(&shared.taps[piece % 2][0][half], to);
    taps.load((piece + 1) * kDepth + half);
  };
  taps.load(half);
  compute(0);
  Tile tile;
  tile.clear();
  for (int piece = 0; piece < pieces; ++piece) {
    wait_for_copies<1>();
    __syncthreads();  // weights and middle of this piece are there, those of the piece before have been read
    copy_weights(piece + 2);
    const float table = Taps<T>::load_table(middle, (piece + 2) * kDepth);
#pragma unroll 1
    for (int phase = 0; phase < 2; ++phase) {
      if ((phase == 0) == (warp_index() < kTileThreads / kWarpSize / 2)) {
        tile.multiply(shared.middle[piece % 2], shared.weights[piece % 3]);
      } else if (piece + 1 < pieces) {
        compute(piece + 1);
      }
    }
    Taps<T>::store_table(table, shared.taps[piece % 2]);  // all have read it, for this piece, before the barrier
  }
  tile.store(output, shared.pixels, first_column);
}

template <int kWidth>
__global__ void __launch_bounds__(kTileThreads, kWidth > 1 ? 2 : 1)
    float_kernel(const __grid_constant__ SeparableMiddle<float> middle,
                 const __grid_constant__ TileWeights<float> weights, const __grid_constant__ TileOutput<float> output) {
  using Tile = FloatTile<kDepth>;
  struct alignas(16) Buffers {
    float middle[Tile::kAElements];
    float weights[Tile::kBElements];
    int64_t pixels[kTileRows];
  };
  KSEG_SHARED(shared, Buffers);
  const int64_t column_tiles = ceil_div(weights.columns, kFloatTileColumns);
  const int64_t first_column = blockIdx.x % column_tiles * kFloatTileColumns;
  const int row = static_cast<int>(threadIdx.x) % kTileRows;
  const int half = static_cast<int>(threadIdx.x) / kTileRows * kMiddleVector;
  const MiddlePixel pixel(middle, blockIdx.x / column_tiles * kTileRows + row);
  if (half == 0) shared.pixels[row] = pixel.output;
  Tile tile;
  for (int first = 0; first < middle.channels; first += kDepth) {
    float values[kMiddleVector];
    compute_middle<kWidth>(middle, pixel, first + half, values);
    const int depth = min(middle.channels - first, kDepth);
    __syncthreads();  // the piece before has been read
#pragma unroll
    for (int v = 0; v < kMiddleVector; ++v) shared.middle[(half + v) * Tile::kAStride + row] = values[v];
    Tile::copy_weights(weights, first, depth, first_column, shared.weights);
    __syncthreads();
    tile.multiply(shared.middle, shared.weights, depth);
  }
  tile.store(output, shared.pixels, first_column);
}

template <class T>
Status launch_kernel(const SeparableMiddle<T>& middle, const View<const T, 4>& pointwise, const TileOutput<T>& output,
                     const CudaContext& context) {
  const int64_t columns = pointwise.shape[3], row_tiles = ceil_div(middle.pixels(), kTileRows);
  if constexpr (sizeof(T) == 4) {
    const TileWeights<T> weights{pointwise.data, columns, columns};
    const bool vectors = middle.multiplier == 1 && rows_are_aligned(middle.x, middle.in_channels, 4) &&
                         rows_are_aligned(middle.filters, middle.channels, 4);
    return launch(vectors ? &float_kernel<4> : &float_kernel<1>,
                  tile_blocks(row_tiles * ceil_div(columns, kFloatTileColumns)), context, middle, weights, output);
  } else {
    TileWeights<T> weights;
    KSEG_RETURN_IF_ERROR(align_weights(pointwise.data, middle.channels, columns, context, &weights));
    const bool nine = middle.multiplier == 1 && middle.rows.kernel == 3 && middle.columns.kernel == 3 &&
                      rows_are_aligned(middle.x, middle.in_channels, kMiddleVector);
    const int tile = nine ? half_tile_columns(row_tiles, columns) : 64;
    const auto kernel = !nine         ? &half_kernel<T, 64, AnyTaps>
                        : tile == 256 ? &half_kernel<T, 256, NineTaps>
                        : tile == 128 ? &half_kernel<T, 128, NineTaps>
                                      : &half_kernel<T, 64, NineTaps>;
    return launch(kernel, tile_blocks(row_tiles * ceil_div(columns, tile)), context, middle, weights, output);
  }
}

const float* given(const View<const float, 1>& view) { return view.empty() ? nullptr : view.data; }

}  // namespace

template <class T>
Status atrous_separable_conv2d_part_cuda(const View<const T, 4>& x, const SeparableFilters<T>& filters,
                                         const ConvOptions& options, const View<T, 4>& output, int64_t stride,
                                         const CudaContext& context) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(check_atrous_separable(x.shape, filters, options, output.shape, &rows, &columns));
  if (output.empty()) return Status();
  if (filters.pointwise.shape[2] > kMostMiddleChannels) {
    return invalid_argument("depthwise must give at most ", kMostMiddleChannels, " channels on a GPU, got ",
                            filters.pointwise.shape[2]);
  }
  const Epilogue between{given(filters.depthwise_scale), given(filters.depthwise_offset), filters.depthwise_activation};
  const Epilogue after{given(filters.scale), given(filters.offset), filters.activation};
  const SeparableMiddle<T> middle{x.data,
                                  filters.depthwise.data,
                                  rows,
                                  columns,
                                  RemainderOrder(rows.output, rows.rate),
                                  x.shape[0],
                                  x.shape[3],
                                  filters.depthwise.shape[3],
                                  static_cast<int>(filters.pointwise.shape[2]),
                                  between};
  return launch_kernel<T>(middle, filters.pointwise, TileOutput<T>(output.data, output.shape[3], stride, after),
                          context);
}

template <class T>
Status atrous_separable_conv2d_cuda(const View<const T, 4>& x, const SeparableFilters<T>& filters,
                                    const ConvOptions& options, const View<T, 4>& output, const CudaContext& context) {
  return atrous_separable_conv2d_part_cuda(x, filters, options, output, output.shape[3], context);
}

#define KSEG_INSTANTIATE(T)                                                                                            \
  template KSEG_API Status atrous_separable_conv2d_cuda<T>(const View<const T, 4>&, const SeparableFilters<T>&,        \
                                                           const ConvOptions&, const View<T, 4>&, const CudaContext&); \
  template Status atrous_separable_conv2d_part_cuda<T>(const View<const T, 4>&, const SeparableFilters<T>&,            \
                                                       const ConvOptions&, const View<T, 4>&, int64_t,                 \
                                                       const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
