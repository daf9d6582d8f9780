// The gradient with respect to the filters: sums over all outputs of a product of two arrays. The outputs are cut into
// parts, as many as the sizes alone ask for, blocks sum over a part each, and a second kernel adds the parts in order:
// the same bits on every GPU.
//
// Reckoning for 16 x 64 x 64 x 2048 bfloat16, 3 x 3 taps: reads 268 MB of x and 268 MB of the gradient, 0.11 ms at
// 4.8 TB/s, 0.14 ms at 80 % of it. A thread goes down a column as in depthwise_atrous_conv2d.cu with nine sums of four
// channels in registers; three loads of x per output, of which two come from L1. Partial sums: 2.4 MB.
#include <algorithm>

#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_check.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_cuda.h"
#include "ops/depthwise_atrous_conv2d/depthwise_march.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 256;
// Of the kernel that goes down columns, and how many blocks a multiprocessor holds: wider numbers take more registers.
template <class T>
inline constexpr int kMarchThreads = sizeof(T) == 4 ? 128 : 256;
template <class T>
inline constexpr int kMarchBlocks = sizeof(T) == 4 ? 3 : 2;
constexpr int64_t kBlocksWanted = 2048;  // sizes alone may decide, or results would differ from GPU to GPU

// Block (part, group of vectors): sums [part][tap][channel] of the columns part, part + parts, ... of each lane.
template <class T>
__global__ void __launch_bounds__(kMarchThreads<T>, kMarchBlocks<T>)
    march_kernel(const T* x, const T* gradient, const __grid_constant__ March march, int64_t parts, float* sums) {
  constexpr int kTaps = kMarchTaps, kSquare = kTaps * kTaps;
  constexpr int kBlock = kMarchThreads<T>, kWarps = kBlock / kWarpSize;
  KSEG_SHARED(of_warps, float[kWarps][8][kSquare * kMarchVector]);
  const int64_t channels = march.vectors * kMarchVector, groups = march.vectors / march.group;
  const int64_t input_row = march.columns.input * channels, output_row = march.columns.output * channels;
  const int vector = static_cast<int>(threadIdx.x) % march.group;
  const int block_columns = kBlock / march.group;
  const int64_t rate = march.rows.rate, step = rate * input_row, tap_step = march.columns.rate * channels;
  for (int64_t unit = blockIdx.x; unit < parts * groups; unit += gridDim.x) {
    const int64_t part = unit / groups;
    const int64_t channel = (unit % groups * march.group + vector) * kMarchVector;
    float sum[kSquare][kMarchVector] = {};
    const int64_t columns = march.column_count();
    for (int64_t index = part * block_columns + threadIdx.x / march.group; index < columns;
         index += parts * block_columns) {
      const MarchColumn column(march, index);
      const int64_t left = column.column - march.columns.before;
      bool inside[kTaps];
#pragma unroll
      for (int kx = 0; kx < kTaps; ++kx) {
        const int64_t at_x = left + kx * march.columns.rate;
        inside[kx] = at_x >= 0 && at_x < march.columns.input;
      }
      const T* at = x + (column.image * march.rows.input + column.first_input) * input_row + left * channels + channel;
      const T* of = gradient + (column.image * march.rows.output + column.first_output) * output_row +
                    column.column * channels + channel;
      // Input row t meets the gradients of outputs t, t - 1 and t - 2, of which a window of three is kept.
      float window[kTaps][kMarchVector] = {};
      for (int first = 0; first < column.count + kTaps - 1; first += kTaps) {
        MarchPacked<T> input[kTaps][kTaps], output[kTaps];
        bool row_inside[kTaps];
#pragma unroll
        for (int t = 0; t < kTaps; ++t) {
          row_inside[t] = first + t >= column.first_step && first + t < column.last_step;
#pragma unroll
          for (int kx = 0; kx < kTaps; ++kx) {
            if (row_inside[t] && inside[kx]) {
              check_aligned<kMarchVector>(at + kx * tap_step);
              input[t][kx] = *reinterpret_cast<const MarchPacked<T>*>(at + kx * tap_step);
            }
          }
          if (first + t < column.count) output[t] = *reinterpret_cast<const MarchPacked<T>*>(of);
          at += step;
          of += rate * output_row;
        }
#pragma unroll
        for (int t = 0; t < kTaps; ++t) {
#pragma unroll
          for (int v = 0; v < kMarchVector; ++v) {
            window[t][v] = 0.0f;
            if (first + t < column.count) window[t][v] = widen(output[t].element[v]);
          }
          if (!row_inside[t]) continue;
#pragma unroll
          for (int kx = 0; kx < kTaps; ++kx) {
            if (!inside[kx]) continue;
#pragma unroll
            for (int v = 0; v < kMarchVector; ++v) {
              const float value = widen(input[t][kx].element[v]);
#pragma unroll
              for (int ky = 0; ky < kTaps; ++ky) {
                // Outputs before the first and behind the last: nothing, also where x is infinite.
                const int row = first + t - ky;
                float& to = sum[ky * kTaps + kx][v];
                if (row >= 0 && row < column.count) to = fmaf(window[(t + kTaps - ky) % kTaps][v], value, to);
              }
            }
          }
        }
      }
    }
    // Lanes of one vector, then warps in order.
#pragma unroll
    for (int tap = 0; tap < kSquare; ++tap) {
#pragma unroll
      for (int v = 0; v < kMarchVector; ++v) {
        for (int lanes = march.group; lanes < kWarpSize; lanes *= 2) {
          sum[tap][v] += __shfl_xor_sync(kFullMask, sum[tap][v], lanes);
        }
        if (lane_index() < march.group) of_warps[warp_index()][vector][tap * kMarchVector + v] = sum[tap][v];
      }
    }
    __syncthreads();
    for (int item = threadIdx.x; item < march.group * kSquare * kMarchVector; item += kBlock) {
      const int v = item % kMarchVector, tap = item / kMarchVector / march.group;
      const int of_group = item / kMarchVector % march.group;
      float total = 0.0f;
#pragma unroll
      for (int warp = 0; warp < kWarps; ++warp) total += of_warps[warp][of_group][tap * kMarchVector + v];
      const int64_t to = unit % groups * march.group * kMarchVector + of_group * kMarchVector + v;
      sums[(part * kSquare + tap) * channels + to] = total;
    }
    __syncthreads();
  }
}

// Any filters: a block per part of the rows of outputs, tap and kThreads channels.
struct General {
  ConvAxis rows;
  ConvAxis columns;
  int64_t batch;
  int64_t channels;    // of the gradient
  int64_t multiplier;  // of these for one of x
};

template <class T>
__global__ void __launch_bounds__(kThreads)
    general_kernel(const T* x, const T* gradient, const __grid_constant__ General conv, int64_t parts, float* sums) {
  const int64_t taps = conv.rows.kernel * conv.columns.kernel, groups = ceil_div(conv.channels, blockDim.x);
  const int64_t in_channels = conv.channels / conv.multiplier, all_rows = conv.batch * conv.rows.output;
  for (int64_t unit = blockIdx.x; unit < parts * taps * groups; unit += gridDim.x) {
    const int64_t channel = unit % groups * blockDim.x + threadIdx.x;
    const int64_t tap = unit / groups % taps, part = unit / groups / taps;
    if (channel >= conv.channels) continue;
    const int64_t down = tap / conv.columns.kernel * conv.rows.rate - conv.rows.before;
    const int64_t across = tap % conv.columns.kernel * conv.columns.rate - conv.columns.before;
    const int64_t first_column = max(-across, int64_t{0});
    const int64_t last_column = min(conv.columns.input - across, conv.columns.output);
    float sum = 0.0f;
    for (int64_t row = part; row < all_rows; row += parts) {
      const int64_t image = row / conv.rows.output, y = row % conv.rows.output + down;
      if (y < 0 || y >= conv.rows.input) continue;
      const T* const of = gradient + row * conv.columns.output * conv.channels + channel;
      const T* const from =
          x + ((image * conv.rows.input + y) * conv.columns.input + across) * in_channels + channel / conv.multiplier;
#pragma unroll 4
      for (int64_t column = first_column; column < last_column; ++column) {
        sum = fmaf(widen(of[column * conv.channels]), widen(from[column * in_channels]), sum);
      }
    }
    sums[(part * taps + tap) * conv.channels + channel] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) add_kernel(const float* sums, int64_t parts, int64_t size, T* to) {
  for (int64_t index = global_thread(); index < size; index += global_threads()) {
    float total = 0.0f;
#pragma unroll 4
    for (int64_t part = 0; part < parts; ++part) total += sums[part * size + index];
    to[index] = narrow<T>(total);
  }
}

}  // namespace

template <class T>
Status depthwise_atrous_conv2d_filter_grad_cuda(const View<const T, 4>& x, const View<const T, 4>& output_gradient,
                                                const ConvOptions& options, const View<T, 4>& filters_gradient,
                                                const CudaContext& context) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(
      check_depthwise_atrous(x.shape, filters_gradient.shape, output_gradient.shape, options, &rows, &columns));
  if (filters_gradient.empty()) return Status();
  if (output_gradient.empty()) return fill_bytes(filters_gradient.data, 0, filters_gradient.size(), context);
  const int64_t channels = output_gradient.shape[3], size = filters_gradient.size();
  const March march(rows, columns, x.shape[0], channels, 1 << 18);
  const bool vectors = march.fits() && filters_gradient.shape[3] == 1 && channels % kMarchVector == 0 &&
                       rows_are_aligned(x.data, channels, kMarchVector) &&
                       rows_are_aligned(output_gradient.data, channels, kMarchVector);
  int64_t parts;
  float* sums = nullptr;
  if (vectors) {
    constexpr int64_t kLeastTurns = 2;
    const int64_t groups = march.vectors / march.group;
    const int64_t most = ceil_div(march.column_count(), kLeastTurns * (kMarchThreads<T> / march.group));
    parts = std::clamp<int64_t>(ceil_div(kBlocksWanted, groups), 1, most);
    KSEG_RETURN_IF_ERROR(context.scratch->allocate(parts * size, &sums));
    KSEG_RETURN_IF_ERROR(launch(&march_kernel<T>, blocks_for(parts * groups, kMarchThreads<T>), context, x.data,
                                output_gradient.data, march, parts, sums));
  } else {
    const General conv{rows, columns, x.shape[0], channels, filters_gradient.shape[3]};
    const int threads = block_threads(channels, kThreads);
    const int64_t units = rows.kernel * columns.kernel * ceil_div(channels, threads);
    parts = std::clamp<int64_t>(ceil_div(kBlocksWanted, units), 1, x.shape[0] * rows.output);
    KSEG_RETURN_IF_ERROR(context.scratch->allocate(parts * size, &sums));
    KSEG_RETURN_IF_ERROR(launch(&general_kernel<T>, blocks_for(parts * units, threads), context, x.data,
                                output_gradient.data, conv, parts, sums));
  }
  return launch(&add_kernel<T>, threads_for(size, kThreads), context, sums, parts, size, filters_gradient.data);
}

#define KSEG_INSTANTIATE(T)                                             \
  template KSEG_API Status depthwise_atrous_conv2d_filter_grad_cuda<T>( \
      const View<const T, 4>&, const View<const T, 4>&, const ConvOptions&, const View<T, 4>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
