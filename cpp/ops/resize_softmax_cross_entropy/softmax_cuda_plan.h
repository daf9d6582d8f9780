// Parameters of the kernels of the op, and the steps of which the launchers are made. Plain C++.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_CUDA_PLAN_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_CUDA_PLAN_H_

#include <cstdint>

#include "base/cuda/context.h"
#include "base/cuda/launch_shape.h"
#include "base/cuda/resize_cells.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"

namespace kseg {

struct SoftmaxLabels {
  ResizeLabels::Type type;
  const void* data;
  int classes;
  bool has_ignore_index;
  int64_t ignore_index;
};

// Of a source pixel: its largest logit; how far below the least one is, in base 2, at most 0; and the mean over the
// classes of what they are below the largest, in base 2.
struct SoftmaxPixels {
  float* top;
  float* least;
  float* mean;  // or null
};

// What the softmax of an output hands back to the sources: with e = 2**(logit - shift) of a class, alike * e, and `own`
// to the output's own class. label -1: nothing.
struct alignas(16) SoftmaxRecord {
  float shift;
  float alike;
  float own;
  int label;
};

// With Dice, to each class also e * per_class * (the factor of the class), and from all alike given * smoothing.
struct alignas(8) SoftmaxDiceRecord {
  float per_class;
  float given;
};

struct SoftmaxWeights {  // of the pixels, for Dice
  const float* data;
  int64_t image_stride;
  int64_t row_stride;
  int64_t column_stride;
};

template <class T>
struct SoftmaxCall {
  const T* logits;
  SoftmaxPixels pixels;
  SoftmaxLabels labels;
  ResizeAxis rows;
  ResizeAxis columns;
  int64_t batch;
  int channels;
  int classes;
  float smoothing;
  const float* class_weights;  // or null
  const int* skip;  // or null; where it is not 0, nothing is to be done
  SoftmaxRecord* records;           // or null
  SoftmaxDiceRecord* dice_records;  // or null
};

// What the first sweep reads and writes beside the records.
struct SoftmaxSweepArrays {
  float* loss;                 // or null
  const float* loss_gradient;  // null: 1 at all pixels
  SoftmaxWeights pixel_weights;
  const float* sums_gradient;  // [batch, kDiceSums, classes]
};

template <class T>
Status describe_pixels(const SoftmaxCall<T>& call, const CudaContext& context);

// Records are for the gradient; for Dice without dice_records they are for its sums: alike is the pixel's weight over
// the sum of exponentials, own the weight.
template <class T>
Status sweep_softmax(const SoftmaxCall<T>& call, bool dice, const SoftmaxSweepArrays& arrays,
                     const CudaContext& context);

// From records. With dice_records also from `sums_gradient`.
template <class T>
Status gather_softmax_gradient(const SoftmaxCall<T>& call, const float* sums_gradient, T* gradient,
                               const CudaContext& context);

// From records. `sums`: [batch, kDiceSums, classes].
template <class T>
Status sum_softmax_dice(const SoftmaxCall<T>& call, float* sums, const CudaContext& context);

// How a block of the gather is laid out: `lanes` threads side by side, each with every lanes-th of `chunk` channels,
// for each of `strips` columns of cells, of which the first one belongs to the neighbour.
struct SoftmaxGatherShape {
  int per_thread = 1;
  int lanes = 1;
  int strips = 2;
  int64_t chunks = 1;
  int64_t chunk = 1;
  int64_t column_tiles = 1;
  int64_t row_tiles = 1;
  int64_t tile_rows = 1;  // of source pixels
  LaunchShape launch;
};
SoftmaxGatherShape softmax_gather_shape(int64_t batch, int64_t height, int64_t width, int64_t channels, bool dice,
                                        int multiprocessors);

}  // namespace kseg

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_SOFTMAX_CUDA_PLAN_H_
