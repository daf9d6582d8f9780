// What the outputs hand back to the source pixels, from the records of the sweep. A thread has some channels of one
// column of cells and goes down the rows, so that what a cell hands to the pixels below it stays in registers; what it
// hands to the pixels at its right goes to the next column through shared memory. Every number is added up by one
// thread after the other in a fixed order, which does not depend on how the work is cut.
//
// Reckoning for 8 x 128 x 128 x 150 from 512 x 512, on an H200: 315 M exponentials, a fifth of them again for the halo
// of a block (one column of cells in 8, one row in 23), at 16 per clock and multiprocessor 0.11 ms; some 8 instructions
// for each 0.11 ms beside it; 79 MB of logits read once or twice and as much written, records of 34 MB: 0.05 ms.
#include <algorithm>
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/resize_softmax_cross_entropy/softmax_cuda.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 256;
// Channels of a thread: as many as registers hold.
constexpr int kMostPerThread = 5;
constexpr int kMostPerThreadDice = 4;
constexpr int kAtOnce = 4;  // outputs

struct GatherParams {
  const float* class_factors;  // of image 0, for Dice
  int64_t column_tiles;
  int64_t row_tiles;
  int64_t tile_rows;
  int64_t chunks;
  int64_t chunk;
  int lanes;
  int strips;
};

// Some channels at two source pixels side by side.
template <int kCount>
struct Pair {
  float left[kCount];
  float right[kCount];
};

// A thread's channels: first, first + lanes, ... The last ones may be past the end of the chunk.
struct Channels {
  int first;
  int lanes;
  int end;
};

template <class T, int kCount>
KSEG_DEVICE void load_pixel(const SoftmaxCall<T>& call, int64_t pixel, const Channels& channels,
                            float (&values)[kCount]) {
  const float top = call.pixels.top[pixel];
  const T* const from = call.logits + pixel * call.channels;
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    const int channel = channels.first + k * channels.lanes;
    values[k] = channel < channels.end ? (clip_logit(widen(from[channel])) - top) * kLog2E : 0.0f;
  }
}

template <class T, int kCount>
KSEG_DEVICE void load_row(const SoftmaxCall<T>& call, int64_t image, int64_t y, int64_t x, const Channels& channels,
                          Pair<kCount>* pair) {
  load_pixel(call, source_pixel(call.rows, call.columns, image, y, x), channels, pair->left);
  load_pixel(call, source_pixel(call.rows, call.columns, image, y, x + 1), channels, pair->right);
}

// Adds what one row of a cell's outputs hands back: `whole`, and `across` times how far to the right they lie.
template <int kCount, bool kDice>
KSEG_DEVICE void add_row(const SoftmaxRecord* records, const SoftmaxDiceRecord* dice_records, const AxisCell& columns,
                         const float (&left)[kCount], const float (&dx)[kCount], const Channels& channels,
                         int first_class, const float (&factors)[kCount], float spread, float (&whole)[kCount],
                         float (&across)[kCount]) {
  float spread_whole = 0.0f, spread_across = 0.0f;
  for (int begin = 0; begin < columns.count; begin += kAtOnce) {
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      const int column = begin + j;
      if (column >= columns.count) break;
      const SoftmaxRecord record = records[column];
      if (record.label < 0) continue;
      const float x = fmaf(static_cast<float>(column), columns.step, columns.first);
      float per_class = 0.0f;
      if constexpr (kDice) {
        const SoftmaxDiceRecord dice = dice_records[column];
        per_class = dice.per_class;
        spread_whole += dice.given;
        spread_across = fmaf(dice.given, x, spread_across);
      } else {
        spread_whole += record.own;
        spread_across = fmaf(record.own, x, spread_across);
      }
      const int own = record.label - first_class - channels.first;
#pragma unroll
      for (int k = 0; k < kCount; ++k) {
        const float e = exp2_fast(fmaf(dx[k], x, left[k]) - record.shift);
        const float alike = kDice ? fmaf(per_class, factors[k], record.alike) : record.alike;
        const float handed = fmaf(e, alike, own == k * channels.lanes ? record.own : 0.0f);
        whole[k] += handed;
        across[k] = fmaf(handed, x, across[k]);
      }
    }
  }
#pragma unroll
  for (int k = 0; k < kCount; ++k) {
    whole[k] = fmaf(-spread, spread_whole, whole[k]);
    across[k] = fmaf(-spread, spread_across, across[k]);
  }
}

template <class T, int kCount, bool kDice>
__global__ void __launch_bounds__(kThreads, 2) gather_kernel(const __grid_constant__ SoftmaxCall<T> call,
                                                             const __grid_constant__ GatherParams params, T* gradient) {
  KSEG_SHARED(handed, float[2][kThreads * kCount]);
  if (call.skip != nullptr && *call.skip != 0) return;
  const int lane = static_cast<int>(threadIdx.x) % params.lanes;
  const int strip = static_cast<int>(threadIdx.x) / params.lanes;
  const int first_class = call.channels == 1 ? 1 : 0;
  // What the smoothing takes from all classes; see SoftmaxRecord::own.
  const float share = call.smoothing / static_cast<float>(call.classes);
  const float spread = kDice ? share : -share / (1.0f - call.smoothing);
  const int64_t blocks = call.batch * params.row_tiles * params.column_tiles * params.chunks;
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    int64_t rest = block / params.chunks;
    const int64_t begin = block % params.chunks * params.chunk;
    const Channels channels{static_cast<int>(begin) + lane, params.lanes,
                            static_cast<int>(min(begin + params.chunk, static_cast<int64_t>(call.channels)))};
    const int64_t x = rest % params.column_tiles * (params.strips - 1) - 1 + strip;
    rest /= params.column_tiles;
    const int64_t first_y = rest % params.row_tiles * params.tile_rows;
    const int64_t image = rest / params.row_tiles;
    const int64_t end_y = min(first_y + params.tile_rows, call.rows.in_size);
    const bool works = strip < params.strips && x < call.columns.in_size;
    const AxisCell columns = works ? axis_cell(call.columns, x) : AxisCell{0, 0, 0.0f, 0.0f};
    float factors[kCount] = {};
    if constexpr (kDice) {
#pragma unroll
      for (int k = 0; k < kCount; ++k) {
        const int channel = channels.first + k * channels.lanes;
        if (channel >= channels.end) continue;
        factors[k] = params.class_factors[(image * kDiceSums + 1) * call.classes + channel + first_class];
      }
    }
    Pair<kCount> upper = {}, lower = {}, upper_sum = {}, lower_sum = {};
    if (works) load_row(call, image, first_y - 1, x, channels, &upper);
    for (int64_t y = first_y - 1; y < end_y; ++y) {
      if (works) {
        load_row(call, image, y + 1, x, channels, &lower);
        const AxisCell rows = axis_cell(call.rows, y);
        if (columns.count > 0) {
          for (int row = 0; row < rows.count; ++row) {
            const float place = fmaf(static_cast<float>(row), rows.step, rows.first);
            float left[kCount], dx[kCount], whole[kCount] = {}, across[kCount] = {};
#pragma unroll
            for (int k = 0; k < kCount; ++k) {
              left[k] = fmaf(lower.left[k] - upper.left[k], place, upper.left[k]);
              dx[k] = fmaf(lower.right[k] - upper.right[k], place, upper.right[k]) - left[k];
            }
            const int64_t line = image * call.rows.out_size + rows.begin + row;
            const int64_t at = line * call.columns.out_size + columns.begin;
            add_row<kCount, kDice>(call.records + at, kDice ? call.dice_records + at : nullptr, columns, left, dx,
                                   channels, first_class, factors, spread, whole, across);
#pragma unroll
            for (int k = 0; k < kCount; ++k) {
              const float to_left = whole[k] - across[k];
              upper_sum.left[k] = fmaf(to_left, 1.0f - place, upper_sum.left[k]);
              upper_sum.right[k] = fmaf(across[k], 1.0f - place, upper_sum.right[k]);
              lower_sum.left[k] = fmaf(to_left, place, lower_sum.left[k]);
              lower_sum.right[k] = fmaf(across[k], place, lower_sum.right[k]);
            }
          }
        }
      }
      // The row y is complete, and owned by this block unless it is the first.
      float* const shared = handed[(y - first_y + 1) % 2];
      const int size = params.lanes * kCount;
      if (strip < params.strips) {
#pragma unroll
        for (int k = 0; k < kCount; ++k) shared[strip * size + k * params.lanes + lane] = upper_sum.right[k];
      }
      __syncthreads();
      if (works && strip > 0 && y >= first_y) {
        const int64_t pixel = (image * call.rows.in_size + y) * call.columns.in_size + x;
        const T* const from = call.logits + pixel * call.channels;
        T* const to = gradient + pixel * call.channels;
#pragma unroll
        for (int k = 0; k < kCount; ++k) {
          const int channel = channels.first + k * channels.lanes;
          if (channel >= channels.end) continue;
          const float sum = shared[(strip - 1) * size + k * params.lanes + lane] + upper_sum.left[k];
          const bool clipped = fabsf(widen(from[channel])) > kLargestSoftmaxLogit;
          to[channel] = narrow<T>(clipped ? 0.0f : sum);
        }
      }
      upper = lower;
      upper_sum = lower_sum;
      lower_sum = {};
    }
    __syncthreads();  // what was handed has been read
  }
}

template <class T, bool kDice>
Status launch_gather(const SoftmaxCall<T>& call, const float* sums_gradient, T* gradient, const CudaContext& context) {
  const SoftmaxGatherShape shape = softmax_gather_shape(call.batch, call.rows.in_size, call.columns.in_size,
                                                        call.channels, kDice, multiprocessors());
  const GatherParams params{sums_gradient, shape.column_tiles, shape.row_tiles, shape.tile_rows,
                            shape.chunks,  shape.chunk,        shape.lanes,     shape.strips};
  const auto run = [&](auto* kernel) { return launch(kernel, shape.launch, context, call, params, gradient); };
  if (shape.per_thread == 1) return run(&gather_kernel<T, 1, kDice>);
  if (shape.per_thread == 2) return run(&gather_kernel<T, 2, kDice>);
  return run(&gather_kernel < T, kDice ? kMostPerThreadDice : kMostPerThread, kDice >);
}

}  // namespace

SoftmaxGatherShape softmax_gather_shape(int64_t batch, int64_t height, int64_t width, int64_t channels, bool dice,
                                        int multiprocessors) {
  SoftmaxGatherShape shape;
  const int most = dice ? kMostPerThreadDice : kMostPerThread;
  shape.chunks = ceil_div(channels, most * kWarpSize);
  shape.chunk = ceil_div(channels, shape.chunks);
  const auto lanes = [&](int per_thread) { return ceil_div(shape.chunk, per_thread); };
  for (const int per_thread : {2, most}) {  // many, unless a tenth more of them would be idle
    if (10 * per_thread * lanes(per_thread) <= 11 * shape.per_thread * lanes(shape.per_thread)) {
      shape.per_thread = per_thread;
    }
  }
  shape.lanes = static_cast<int>(lanes(shape.per_thread));
  shape.strips = static_cast<int>(std::clamp<int64_t>(kThreads / shape.lanes, 2, width + 1));
  shape.column_tiles = ceil_div(width, shape.strips - 1);
  const int64_t bands = batch * shape.column_tiles * shape.chunks;
  const int64_t wanted = ceil_div(6 * static_cast<int64_t>(multiprocessors), std::max<int64_t>(bands, 1));
  shape.row_tiles = std::clamp<int64_t>(wanted, 1, ceil_div(height, 8));
  shape.tile_rows = ceil_div(height, shape.row_tiles);
  shape.row_tiles = ceil_div(height, shape.tile_rows);
  shape.launch = blocks_for(bands * shape.row_tiles, block_threads(shape.lanes * shape.strips, kThreads));
  return shape;
}

template <class T>
Status gather_softmax_gradient(const SoftmaxCall<T>& call, const float* sums_gradient, T* gradient,
                               const CudaContext& context) {
  if (call.dice_records != nullptr) return launch_gather<T, true>(call, sums_gradient, gradient, context);
  return launch_gather<T, false>(call, sums_gradient, gradient, context);
}

#define KSEG_INSTANTIATE(T) \
  template Status gather_softmax_gradient(const SoftmaxCall<T>&, const float*, T*, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
