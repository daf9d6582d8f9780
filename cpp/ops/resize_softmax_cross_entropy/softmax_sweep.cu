// The first sweep: sums of exponentials over the classes, and from them losses and what each output hands back. A
// thread has a few outputs side by side in one cell, and goes through all classes by itself: no sum crosses threads.
// The source pixels of a tile of cells lie in shared memory, some classes at a time.
//
// Reckoning for 8 x 128 x 128 x 150 to 512 x 512, on an H200: 315 M exponentials at 16 per clock and multiprocessor are
// 0.09 ms, and 4.5 instructions for each (a product along the row, an exponential, a sum; of what 4 outputs share a
// quarter) 0.05 ms beside it; logits of 79 MB are read twice, 0.04 ms; labels, losses and records are 50 MB, 0.01 ms.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "base/cuda/resize_cells.cuh"
#include "base/cuda/vector.cuh"
#include "ops/resize_softmax_cross_entropy/softmax_cuda.cuh"

namespace kseg {
namespace {

constexpr int kThreads = kCellThreads;
constexpr int kThreadClasses = 24;  // pixels of so many classes are described by one thread each

// Below this least logit, or beyond these factors, each output's largest logit is subtracted first. With a largest
// logit of 0 at each of four pixels, one of an output is at least 3/4 of this.
constexpr float kLeastNarrow = -100.0f;
constexpr float kMostGiven = 1e12f;
constexpr float kMostDiceFactor = 1e6f;

struct PixelDescription {
  float top = -3e38f;
  float least = 3e38f;

  KSEG_DEVICE void add(float value) {
    top = fmaxf(top, value);
    least = fminf(least, value);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) describe_by_thread_kernel(const __grid_constant__ SoftmaxCall<T> call) {
  if (call.skip != nullptr && *call.skip != 0) return;
  const int64_t pixels = call.batch * call.rows.in_size * call.columns.in_size;
  for (int64_t pixel = global_thread(); pixel < pixels; pixel += global_threads()) {
    const T* const from = call.logits + pixel * call.channels;
    PixelDescription description;
    for (int i = 0; i < call.classes; ++i) description.add(clipped_logit(from, call.channels, i));
    call.pixels.top[pixel] = description.top;
    call.pixels.least[pixel] = (description.least - description.top) * kLog2E;
    if (call.pixels.mean == nullptr) continue;
    float sum = 0.0f;
    for (int i = 0; i < call.classes; ++i) {
      sum += (clipped_logit(from, call.channels, i) - description.top) * kLog2E;
    }
    call.pixels.mean[pixel] = sum / static_cast<float>(call.classes);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) describe_by_warp_kernel(const __grid_constant__ SoftmaxCall<T> call) {
  if (call.skip != nullptr && *call.skip != 0) return;
  const int64_t pixels = call.batch * call.rows.in_size * call.columns.in_size;
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kThreads / kWarpSize);
  for (int64_t pixel = static_cast<int64_t>(blockIdx.x) * (kThreads / kWarpSize) + warp_index(); pixel < pixels;
       pixel += warps) {
    const T* const from = call.logits + pixel * call.channels;
    PixelDescription description;
    for (int i = lane_index(); i < call.classes; i += kWarpSize) description.add(clip_logit(widen(from[i])));
    const float top = warp_reduce(description.top, Maximum());
    const float least = warp_reduce(description.least, Minimum());
    if (lane_index() == 0) {
      call.pixels.top[pixel] = top;
      call.pixels.least[pixel] = (least - top) * kLog2E;
    }
    if (call.pixels.mean == nullptr) continue;
    float sum = 0.0f;
    for (int i = lane_index(); i < call.classes; i += kWarpSize) sum += (clip_logit(widen(from[i])) - top) * kLog2E;
    sum = warp_reduce(sum, Add());
    if (lane_index() == 0) call.pixels.mean[pixel] = sum / static_cast<float>(call.classes);
  }
}

// What a thread has of its outputs.
template <int kRun>
struct Outputs {
  int label[kRun];
  float shift[kRun] = {};
  float sum[kRun] = {};
  float weighed[kRun] = {};  // sum over classes of e times a factor of the class
  float own[kRun] = {};  // logit of the own class
};

template <bool kDice, bool kShifted, int kRun>
KSEG_DEVICE void add_exponentials(const CellCorners& corners, int count, const float* factors,
                                  const CellUnit<kRun>& unit, Outputs<kRun>* outputs) {
#pragma unroll 2
  for (int i = 0; i < count; ++i) {
    const float factor = kDice ? factors[i] : 0.0f;
    interpolate(corners, i, unit, [&](int j, float logit) {
      const float e = exp2_fast(kShifted ? logit - outputs->shift[j] : logit);
      outputs->sum[j] += e;
      if (kDice) outputs->weighed[j] = fmaf(e, factor, outputs->weighed[j]);
    });
  }
}

// Base-2 logits less the pixel's largest.
template <class T>
KSEG_DEVICE void stage(const SoftmaxCall<T>& call, const CellTiles& tiles, const CellOrigin& origin, int first,
                       int count, float* values) {
  stage_tile(tiles, origin, count, values, [&](int64_t pixel) {
    const T* const from = call.logits + pixel * call.channels;
    const float top = call.pixels.top[pixel];
    return [&call, from, top, first](int which) {
      return (clipped_logit(from, call.channels, first + which) - top) * kLog2E;
    };
  });
}

// The gradient of the unweighted loss.
template <class T>
KSEG_DEVICE float upstream_of(const SoftmaxCall<T>& call, const SoftmaxSweepArrays& arrays, int64_t position,
                              int label) {
  const float given = arrays.loss_gradient == nullptr ? 1.0f : arrays.loss_gradient[position];
  return call.class_weights == nullptr ? given : given * call.class_weights[label];
}

// From sums to the loss and the record of an output.
template <class T, bool kDice, int kRun>
KSEG_DEVICE void conclude(const SoftmaxCall<T>& call, const SoftmaxSweepArrays& arrays, bool gradient, int64_t image,
                          int64_t position, int j, const float (&means)[4], float weight, const CellUnit<kRun>& unit,
                          const Outputs<kRun>& outputs) {
  const int label = outputs.label[j];
  const float class_weight = call.class_weights == nullptr || label < 0 ? 1.0f : call.class_weights[label];
  const float sharp = 1.0f - call.smoothing;
  if (arrays.loss != nullptr) {
    float target = outputs.own[j];
    if (call.smoothing != 0.0f) {
      const float mean = bilinear(means[0], means[1], means[2], means[3], unit.x[j], unit.y);
      target = fmaf(call.smoothing, mean, sharp * target);
    }
    float loss = (log2f(outputs.sum[j]) + (outputs.shift[j] - target)) * kLn2;
    loss = loss < 0.0f ? 0.0f : loss;  // by rounding; a NaN stays
    arrays.loss[position] = label < 0 ? 0.0f : loss * class_weight;
  }
  if (call.records == nullptr) return;
  SoftmaxRecord record{0.0f, 0.0f, 0.0f, -1};
  SoftmaxDiceRecord dice_record{0.0f, 0.0f};
  if (label >= 0) {
    const float inverse = 1.0f / outputs.sum[j];
    record.label = label;
    record.shift = outputs.shift[j];
    if (kDice && !gradient) {
      record.alike = weight * inverse;
      record.own = weight;
    } else {
      const float given = upstream_of(call, arrays, position, label);
      record.alike = given * inverse;
      record.own = -(sharp * given);
      if constexpr (kDice) {
        const float probability = exp2_fast(outputs.own[j] - outputs.shift[j]) * inverse;
        const float own = probability * arrays.sums_gradient[image * kDiceSums * call.classes + label];
        record.alike = (given - weight * fmaf(outputs.weighed[j], inverse, own)) * inverse;
        record.own = fmaf(weight, own, record.own);
        dice_record = {weight * inverse, given};
      }
    }
  }
  call.records[position] = record;
  if (kDice && gradient) call.dice_records[position] = dice_record;
}

template <class T, int kRun, bool kDice>
__global__ void __launch_bounds__(kThreads, kDice ? 3 : 4)
    sweep_kernel(const __grid_constant__ SoftmaxCall<T> call, const __grid_constant__ CellTiles tiles,
                 const __grid_constant__ SoftmaxSweepArrays arrays) {
  KSEG_SHARED(tile, CellTile);
  KSEG_DYNAMIC_SHARED(values, float);
  if (call.skip != nullptr && *call.skip != 0) return;
  const bool gradient = kDice && call.dice_records != nullptr;
  const int64_t blocks = tiles.blocks();
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    __syncthreads();  // the tile of before has been read
    const CellOrigin origin = enter_tile(tiles, block, &tile);
    const int64_t image = origin.image;
    const CellUnit<kRun> unit = unit_of<kRun>(tiles, tile, origin.part);
    const int64_t position = (image * tiles.rows.out_size + unit.row) * tiles.columns.out_size + unit.column;
    Outputs<kRun> outputs;
    bool counted = false, shifted = false;
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      outputs.label[j] = j < unit.count ? class_of(call.labels, position + j) : -1;
      counted = counted || outputs.label[j] >= 0;
      if (outputs.label[j] >= 0 && call.records != nullptr) {
        shifted = shifted || !(fabsf(upstream_of(call, arrays, position + j, outputs.label[j])) <= kMostGiven);
      }
    }
    float weights[kRun] = {};
    const float* const factors = gradient ? arrays.sums_gradient + image * kDiceSums * call.classes : nullptr;
    if constexpr (kDice) {
      const SoftmaxWeights& from = arrays.pixel_weights;
      const int64_t at = image * from.image_stride + unit.row * from.row_stride;
#pragma unroll
      for (int j = 0; j < kRun; ++j) {
        if (outputs.label[j] < 0) continue;
        weights[j] = from.data[at + (unit.column + j) * from.column_stride];
        shifted = shifted || !(fabsf(weights[j]) <= kMostDiceFactor);
        if (gradient) shifted = shifted || !(fabsf(factors[outputs.label[j]]) <= kMostDiceFactor);
      }
    }
    float means[4] = {};
    if (counted) {
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {
        const int64_t pixel = source_pixel(tiles.rows, tiles.columns, image, origin.y + unit.down + corner / 2,
                                           origin.x + unit.right + corner % 2);
        shifted = shifted || !(call.pixels.least[pixel] >= kLeastNarrow);
        if (call.pixels.mean != nullptr) means[corner] = call.pixels.mean[pixel];
      }
    }
    shifted = shifted && counted;
    const CellCorners corners = corners_of(tiles, unit, values);
    if (__syncthreads_or(shifted)) {
#pragma unroll
      for (int j = 0; j < kRun; ++j) outputs.shift[j] = shifted ? -3e38f : 0.0f;
      for (int begin = 0; begin < call.classes; begin += tiles.chunk) {
        const int count = min(tiles.chunk, call.classes - begin);
        stage(call, tiles, origin, begin, count, values);
        if (!shifted) continue;
        for (int i = 0; i < count; ++i) {
          interpolate(corners, i, unit, [&](int j, float logit) { outputs.shift[j] = fmaxf(outputs.shift[j], logit); });
        }
      }
    }
    for (int begin = 0; begin < call.classes; begin += tiles.chunk) {
      const int count = min(tiles.chunk, call.classes - begin);
      stage(call, tiles, origin, begin, count, values);
      if (!counted) continue;
#pragma unroll
      for (int j = 0; j < kRun; ++j) {
        const int which = outputs.label[j] - begin;
        if (which < 0 || which >= count) continue;
        outputs.own[j] = bilinear(corners.upper_left[which], corners.upper_right[which], corners.lower_left[which],
                                  corners.lower_right[which], unit.x[j], unit.y);
      }
      if (kDice && gradient) {
        add_exponentials<kDice, true>(corners, count, factors + call.classes + begin, unit, &outputs);
      } else if (shifted) {
        add_exponentials<false, true>(corners, count, nullptr, unit, &outputs);
      } else {
        add_exponentials<false, false>(corners, count, nullptr, unit, &outputs);
      }
    }
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      if (j < unit.count) {
        conclude<T, kDice>(call, arrays, gradient, image, position + j, j, means, weights[j], unit, outputs);
      }
    }
  }
}

template <class T, bool kDice>
Status launch_sweep(const SoftmaxCall<T>& call, const SoftmaxSweepArrays& arrays, const CudaContext& context) {
  const CellTiles tiles = cell_tiles(call.batch, call.rows, call.columns, call.classes);
  if (tiles.run == 4) return launch(&sweep_kernel<T, 4, kDice>, tiles.launch(), context, call, tiles, arrays);
  if (tiles.run == 2) return launch(&sweep_kernel<T, 2, kDice>, tiles.launch(), context, call, tiles, arrays);
  return launch(&sweep_kernel<T, 1, kDice>, tiles.launch(), context, call, tiles, arrays);
}

}  // namespace

template <class T>
Status describe_pixels(const SoftmaxCall<T>& call, const CudaContext& context) {
  const int64_t pixels = call.batch * call.rows.in_size * call.columns.in_size;
  if (call.classes <= kThreadClasses) {
    return launch(&describe_by_thread_kernel<T>, threads_for(pixels, kThreads), context, call);
  }
  return launch(&describe_by_warp_kernel<T>, blocks_for(ceil_div(pixels, kThreads / kWarpSize), kThreads), context,
                call);
}

template <class T>
Status sweep_softmax(const SoftmaxCall<T>& call, bool dice, const SoftmaxSweepArrays& arrays,
                     const CudaContext& context) {
  return dice ? launch_sweep<T, true>(call, arrays, context) : launch_sweep<T, false>(call, arrays, context);
}

#define KSEG_INSTANTIATE(T)                                                   \
  template Status describe_pixels(const SoftmaxCall<T>&, const CudaContext&); \
  template Status sweep_softmax(const SoftmaxCall<T>&, bool, const SoftmaxSweepArrays&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
