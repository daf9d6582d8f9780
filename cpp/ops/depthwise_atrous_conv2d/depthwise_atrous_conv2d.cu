// Forward, and the gradient with respect to x, which is the same with the taps in reverse.
//
// Reckoning for 16 x 64 x 64 x 2048 bfloat16, 3 x 3 taps at rate 12: 268 MB in, 268 MB out, 0.11 ms at 4.8 TB/s, 0.14
// ms at 80 % of it. Going down a column, a thread loads three inputs per output; two of them have been loaded by its
// neighbours in the block (columns in the order of remainders) and come from L1: 0.8 GB at some 25 TB/s, 0.03 ms. Two
// blocks of 256 threads on a multiprocessor have 24 KiB of loads from memory under way. 9 fused multiply-adds and some
// 7 other instructions per output: 0.07 ms of issue slots.
//
// Other filters: a thread per vector of outputs, inputs from L1 and L2.
#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_check.h"
#include "ops/depthwise_atrous_conv2d/depthwise_atrous_conv2d_cuda.h"
#include "ops/depthwise_atrous_conv2d/depthwise_march.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kWantedThreads = 1024;  // per multiprocessor: two blocks, and more to follow

template <class T>
__global__ void __launch_bounds__(kThreads, 2)
    march_kernel(const T* from, const T* filters, const __grid_constant__ March march, bool reversed, int64_t total,
                 T* to) {
  constexpr int kTaps = kMarchTaps;
  constexpr int kSteps = sizeof(T) == 4 ? 3 : 6;  // rows loaded at once: as many bytes under way
  const int64_t channels = march.vectors * kMarchVector;
  const int64_t input_row = march.columns.input * channels, output_row = march.columns.output * channels;
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    // Threads: vectors of a group, then columns, then groups.
    const int64_t columns = march.columns.output * march.group;
    const int64_t unit = index / columns, groups = march.vectors / march.group;
    const int64_t in_unit = index - unit * columns;
    const int64_t channel = (unit % groups * march.group + in_unit % march.group) * kMarchVector;
    const MarchColumn column(march, unit / groups * march.columns.output + in_unit / march.group);
    if (column.count == 0) continue;

    float weight[kTaps * kTaps][kMarchVector];
#pragma unroll
    for (int tap = 0; tap < kTaps * kTaps; ++tap) {
      load_floats(filters + (reversed ? kTaps * kTaps - 1 - tap : tap) * channels + channel, weight[tap]);
    }
    const int64_t left = column.column - march.columns.before;
    bool inside[kTaps];
#pragma unroll
    for (int kx = 0; kx < kTaps; ++kx) {
      const int64_t x = left + kx * march.columns.rate;
      inside[kx] = x >= 0 && x < march.columns.input;
    }
    const T* at = from + (column.image * march.rows.input + column.first_input) * input_row + left * channels + channel;
    const int64_t step = march.rows.rate * input_row, tap_step = march.columns.rate * channels;
    T* target =
        to + (column.image * march.rows.output + column.first_output) * output_row + column.column * channels + channel;

    float sum[kTaps][kMarchVector] = {};
    // Input row t adds to outputs t, t - 1 and t - 2, which is then complete.
    for (int first = 0; first < column.count + kTaps - 1; first += kSteps) {
      MarchPacked<T> input[kSteps][kTaps];
      bool row_inside[kSteps];
#pragma unroll
      for (int t = 0; t < kSteps; ++t) {
        row_inside[t] = first + t >= column.first_step && first + t < column.last_step;
#pragma unroll
        for (int kx = 0; kx < kTaps; ++kx) {
          if (row_inside[t] && inside[kx]) {
            check_aligned<kMarchVector>(at + kx * tap_step);
            input[t][kx] = *reinterpret_cast<const MarchPacked<T>*>(at + kx * tap_step);
          }
        }
        at += step;
      }
#pragma unroll
      for (int t = 0; t < kSteps; ++t) {
#pragma unroll
        for (int v = 0; v < kMarchVector; ++v) sum[t % kTaps][v] = 0.0f;
        if (row_inside[t]) {
#pragma unroll
          for (int kx = 0; kx < kTaps; ++kx) {
            if (!inside[kx]) continue;  // a tap in the padding adds nothing, not even infinity times zero
#pragma unroll
            for (int v = 0; v < kMarchVector; ++v) {
              const float value = widen(input[t][kx].element[v]);
#pragma unroll
              for (int ky = 0; ky < kTaps; ++ky) {
                float& of = sum[(t + kTaps - ky) % kTaps][v];
                of = fmaf(weight[ky * kTaps + kx][v], value, of);
              }
            }
          }
        }
        const int output = first + t - (kTaps - 1);
        if (output >= 0 && output < column.count) {
          store_floats(target, sum[(t + 1) % kTaps]);
          target += march.rows.rate * output_row;
        }
      }
    }
  }
}

// Any filters. Outputs have `channels` channels; output channel c reads input channels c / divide * multiply + j for j
// < sources, with filters' channel c * sources + j.
struct General {
  ConvAxis rows;
  ConvAxis columns;
  int64_t channels;
  int64_t divide;
  int64_t sources;
  bool reversed;
};

template <class T, int kVector>
__global__ void __launch_bounds__(kThreads)
    general_kernel(const T* from, const T* filters, const __grid_constant__ General conv, int64_t total, T* to) {
  const int64_t in_channels = conv.channels / conv.divide * conv.sources;
  const int64_t filter_channels = conv.channels * conv.sources;
  const int taps = static_cast<int>(conv.rows.kernel * conv.columns.kernel);
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    const int64_t pixel = index / (conv.channels / kVector);
    const int64_t channel = (index - pixel * (conv.channels / kVector)) * kVector;
    const int64_t line = pixel / conv.columns.output;
    const int64_t x = pixel - line * conv.columns.output - conv.columns.before;
    const int64_t batch = line / conv.rows.output;
    const int64_t y = line - batch * conv.rows.output - conv.rows.before;
    const T* const image = from + batch * conv.rows.input * conv.columns.input * in_channels +
                           (kVector > 1 ? channel : channel / conv.divide * conv.sources);  // vectors: both are 1
    float sum[kVector] = {};
    for (int64_t source = 0; source < conv.sources; ++source) {
      for (int ky = 0; ky < conv.rows.kernel; ++ky) {
        const int64_t row = y + ky * conv.rows.rate;
        if (row < 0 || row >= conv.rows.input) continue;
#pragma unroll 4
        for (int kx = 0; kx < conv.columns.kernel; ++kx) {
          const int64_t column = x + kx * conv.columns.rate;
          if (column < 0 || column >= conv.columns.input) continue;
          const int tap = ky * static_cast<int>(conv.columns.kernel) + kx;
          float value[kVector], weight[kVector];
          load_floats(image + (row * conv.columns.input + column) * in_channels + source, value);
          load_floats(
              filters + (conv.reversed ? taps - 1 - tap : tap) * filter_channels + channel * conv.sources + source,
              weight);
#pragma unroll
          for (int v = 0; v < kVector; ++v) sum[v] = fmaf(weight[v], value[v], sum[v]);
        }
      }
    }
    store_floats(to + index * kVector, sum);
  }
}

// Convolves `from` with filters [taps, channels of the output, sources] or [taps, channels of the input, divide].
template <class T>
Status convolve(const T* from, const T* filters, const General& conv, int64_t batch, const View<T, 4>& to,
                const CudaContext& context) {
  constexpr int kVector = kMarchVector;
  const bool vectors = conv.divide == 1 && conv.sources == 1 && rows_are_aligned(from, conv.channels, kVector) &&
                       rows_are_aligned(filters, conv.channels, kVector) &&
                       rows_are_aligned(to.data, conv.channels, kVector);
  if (!vectors) {
    return launch(&general_kernel<T, 1>, threads_for(to.size(), kThreads), context, from, filters, conv, to.size(),
                  to.data);
  }
  const March march(conv.rows, conv.columns, batch, conv.channels, kWantedThreads * multiprocessors());
  if (march.fits()) {
    const int64_t total = march.column_count() * march.vectors;
    return launch(&march_kernel<T>, threads_for(total, kThreads), context, from, filters, march, conv.reversed, total,
                  to.data);
  }
  const int64_t total = to.size() / kVector;
  return launch(&general_kernel<T, kVector>, threads_for(total, kThreads), context, from, filters, conv, total,
                to.data);
}

}  // namespace

template <class T>
Status depthwise_atrous_conv2d_cuda(const View<const T, 4>& x, const View<const T, 4>& filters,
                                    const ConvOptions& options, const View<T, 4>& output, const CudaContext& context) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(check_depthwise_atrous(x.shape, filters.shape, output.shape, options, &rows, &columns));
  if (output.empty()) return Status();
  const General conv{rows, columns, output.shape[3], filters.shape[3], 1, false};
  return convolve(x.data, filters.data, conv, x.shape[0], output, context);
}

template <class T>
Status depthwise_atrous_conv2d_input_grad_cuda(const View<const T, 4>& output_gradient, const View<const T, 4>& filters,
                                               const ConvOptions& options, const View<T, 4>& x_gradient,
                                               const CudaContext& context) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(
      check_depthwise_atrous(x_gradient.shape, filters.shape, output_gradient.shape, options, &rows, &columns));
  if (x_gradient.empty()) return Status();
  if (output_gradient.empty()) return fill_bytes(x_gradient.data, 0, x_gradient.size(), context);
  const General conv{transpose(rows), transpose(columns), x_gradient.shape[3], 1, filters.shape[3], true};
  return convolve(output_gradient.data, filters.data, conv, x_gradient.shape[0], x_gradient, context);
}

#define KSEG_INSTANTIATE(T)                                                                                            \
  template KSEG_API Status depthwise_atrous_conv2d_cuda<T>(const View<const T, 4>&, const View<const T, 4>&,           \
                                                           const ConvOptions&, const View<T, 4>&, const CudaContext&); \
  template KSEG_API Status depthwise_atrous_conv2d_input_grad_cuda<T>(                                                 \
      const View<const T, 4>&, const View<const T, 4>&, const ConvOptions&, const View<T, 4>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
