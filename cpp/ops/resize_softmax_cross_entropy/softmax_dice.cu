// The sums of the Dice loss, from the records of the sweep: a thread has one class and some of the cells of a few rows;
// what the threads and then the blocks have is added up in a fixed order. As much arithmetic as the sweep has, 0.15 ms
// for 8 x 128 x 128 x 150 to 512 x 512 on an H200.
#include <algorithm>
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/resize_softmax_cross_entropy/softmax_cuda.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlockRows = 4;  // of cells; it decides in which order numbers are added up

struct DiceParams {
  int64_t row_tiles;
  int64_t chunks;
  int lanes;  // classes of a block
  int strips;
};

template <class T>
__global__ void __launch_bounds__(kThreads) dice_kernel(const __grid_constant__ SoftmaxCall<T> call,
                                                        const __grid_constant__ DiceParams params, float* partial) {
  KSEG_SHARED(parts, float[kDiceSums][kThreads]);
  const int lane = static_cast<int>(threadIdx.x) % params.lanes;
  const int strip = static_cast<int>(threadIdx.x) / params.lanes;
  const int64_t blocks = call.batch * params.row_tiles * params.chunks;
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    const int64_t tile = block / params.chunks;
    const int64_t which = (block - tile * params.chunks) * params.lanes + lane;
    const int64_t image = tile / params.row_tiles;
    const int64_t first_y = (tile - image * params.row_tiles) * kBlockRows - 1;
    float sums[kDiceSums] = {};
    const bool works = strip < params.strips && which < call.classes;
    const auto logit = [&](int64_t y, int64_t x) {
      const int64_t pixel = source_pixel(call.rows, call.columns, image, y, x);
      const float value = clipped_logit(call.logits + pixel * call.channels, call.channels, static_cast<int>(which));
      return (value - call.pixels.top[pixel]) * kLog2E;
    };
    for (int64_t y = first_y; works && y < min(first_y + kBlockRows, call.rows.in_size); ++y) {
      const AxisCell rows = axis_cell(call.rows, y);
      if (rows.count == 0) continue;
      for (int64_t x = strip - 1; x < call.columns.in_size; x += params.strips) {
        const AxisCell columns = axis_cell(call.columns, x);
        if (columns.count == 0) continue;
        const float upper_left = logit(y, x), upper_right = logit(y, x + 1);
        const float lower_left = logit(y + 1, x), lower_right = logit(y + 1, x + 1);
        float overlap = 0.0f, predicted = 0.0f, labelled = 0.0f;
        for (int row = 0; row < rows.count; ++row) {
          const float place = fmaf(static_cast<float>(row), rows.step, rows.first);
          const float left = fmaf(lower_left - upper_left, place, upper_left);
          const float dx = fmaf(lower_right - upper_right, place, upper_right) - left;
          const int64_t line = image * call.rows.out_size + rows.begin + row;
          const SoftmaxRecord* const records = call.records + line * call.columns.out_size + columns.begin;
          for (int column = 0; column < columns.count; ++column) {
            const SoftmaxRecord record = records[column];
            if (record.label < 0) continue;
            const float at = fmaf(static_cast<float>(column), columns.step, columns.first);
            const float part = exp2_fast(fmaf(dx, at, left) - record.shift) * record.alike;
            predicted += part;
            if (record.label == which) {
              overlap += part;
              labelled += record.own;
            }
          }
        }
        sums[0] += overlap;
        sums[1] += predicted;
        sums[2] += labelled;
      }
    }
    __syncthreads();  // the parts of before have been read
#pragma unroll
    for (int i = 0; i < kDiceSums; ++i) parts[i][threadIdx.x] = sums[i];
    __syncthreads();
    if (strip != 0 || !works) continue;
#pragma unroll
    for (int i = 0; i < kDiceSums; ++i) {
      float total = 0.0f;
      for (int other = 0; other < params.strips; ++other) total += parts[i][other * params.lanes + lane];
      partial[(tile * kDiceSums + i) * call.classes + which] = total;
    }
  }
}

// Carries along what rounding takes, so that the number of blocks does not matter.
__global__ void __launch_bounds__(kThreads)
    total_kernel(const float* partial, int64_t batch, int64_t row_tiles, int64_t size, float* sums) {
  for (int64_t i = global_thread(); i < batch * size; i += global_threads()) {
    const float* const from = partial + i / size * row_tiles * size + i % size;
    float total = 0.0f, lost = 0.0f;
    for (int64_t tile = 0; tile < row_tiles; ++tile) {
      const float part = from[tile * size];
      const float sum = total + part;
      const float rounded = sum - total;
      lost += (total - (sum - rounded)) + (part - rounded);
      total = sum;
    }
    sums[i] = isfinite(total) ? total + lost : total;
  }
}

}  // namespace

template <class T>
Status sum_softmax_dice(const SoftmaxCall<T>& call, float* sums, const CudaContext& context) {
  DiceParams params;
  params.chunks = ceil_div(call.classes, kThreads / 4);
  params.lanes = static_cast<int>(ceil_div(call.classes, params.chunks));
  params.strips = kThreads / params.lanes;
  params.row_tiles = ceil_div(call.rows.in_size + 1, kBlockRows);
  const int64_t size = int64_t{kDiceSums} * call.classes;
  float* partial = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(call.batch * params.row_tiles * size, &partial));
  KSEG_RETURN_IF_ERROR(launch(&dice_kernel<T>, blocks_for(call.batch * params.row_tiles * params.chunks, kThreads),
                              context, call, params, partial));
  return launch(&total_kernel, threads_for(call.batch * size, kThreads), context, partial, call.batch, params.row_tiles,
                size, sums);
}

#define KSEG_INSTANTIATE(T) template Status sum_softmax_dice(const SoftmaxCall<T>&, float*, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
