// The branches one after the other, by the kernels of ops/atrous_conv2d and ops/atrous_separable_conv2d, each into its
// channels of one array; then the projection as a 1 x 1 convolution of that array. The pooled branch, which is the same
// for all pixels of an image, is a vector per image that the projection's sums begin with: it costs the projection
// nothing, where channels of its own would cost it a fifth more.
//
// Reckoning for 16 x 64 x 64 x 2048 bfloat16 to 256 filters, rates 12, 24 and 36, pooled: the branches as their files
// reckon, 0.95, 0.8 and 0.65 ms dense (taps in the padding are left out), about 0.2 ms each separable, and 0.11 ms the
// one of 1 x 1 (69 GFLOP at 600 TFLOP/s). They write 134 MB in all, which the projection reads: 0.03 ms at 4.8 TB/s
// each way, beneath the products; the projection is 34 GFLOP, 0.06 ms. The mean reads x once, 268 MB, 0.06 ms, with 8
// loads of 16 bytes under way per thread; its sums, 8 MB, stay in L2; what follows of the pooled branch is latency,
// 0.01 ms. Together 2.6 ms dense, 0.85 ms separable.
#include <algorithm>
#include <cstdint>

#include "base/cuda/activation.cuh"
#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/aspp/aspp_check.h"
#include "ops/aspp/aspp_cuda.h"
#include "ops/atrous_conv2d/atrous_conv2d_cuda.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_cuda.h"

namespace kseg {
namespace {

constexpr int kSumWarps = 8;
constexpr int kProductWarps = 32;

// How the pixels of an image are cut for the sums of its mean: by their number alone.
struct PixelChunks {
  int64_t pixels;
  int64_t size;
  int64_t count;

  explicit PixelChunks(int64_t image_pixels)
      : pixels(image_pixels), size(std::max<int64_t>(64, ceil_div(image_pixels, 128))), count(ceil_div(pixels, size)) {}
};

// sums [images][chunks][channels] of x [images][pixels][channels]. A block takes the channels of a warp's vectors, each
// warp every eighth pixel of a chunk.
template <class T, int kWidth>
__global__ void __launch_bounds__(kSumWarps* kWarpSize)
    pixel_sums_kernel(const T* x, PixelChunks chunks, int64_t channels, int64_t groups, int64_t units, float* sums) {
  constexpr int kChannels = kWarpSize * kWidth;
  struct alignas(16) Parts {
    float sum[kSumWarps][kChannels];
  };
  KSEG_SHARED(parts, Parts);
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t chunk = unit / groups, first = unit % groups * kChannels;  // of all images' chunks
    const int64_t begin = chunk % chunks.count * chunks.size, end = min(begin + chunks.size, chunks.pixels);
    const int64_t channel = first + lane_index() * kWidth;
    float sum[kWidth] = {};
    if (channel < channels) {
      const T* const from = x + chunk / chunks.count * chunks.pixels * channels + channel;
#pragma unroll 8
      for (int64_t pixel = begin + warp_index(); pixel < end; pixel += kSumWarps) {
        float value[kWidth];
        load_floats(from + pixel * channels, value);
#pragma unroll
        for (int v = 0; v < kWidth; ++v) sum[v] += value[v];
      }
    }
    __syncthreads();  // the parts of the unit before have been read
#pragma unroll
    for (int v = 0; v < kWidth; ++v) parts.sum[warp_index()][lane_index() * kWidth + v] = sum[v];
    __syncthreads();
    const int mine = static_cast<int>(threadIdx.x);
    if (mine < kChannels && first + mine < channels) {
      float total = parts.sum[0][mine];
#pragma unroll
      for (int warp = 1; warp < kSumWarps; ++warp) total += parts.sum[warp][mine];
      sums[chunk * channels + first + mine] = total;
    }
  }
}

// mean [images][channels] of those sums.
__global__ void __launch_bounds__(256)
    mean_kernel(const float* sums, PixelChunks chunks, int64_t channels, int64_t total, float* mean) {
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    const int64_t image = index / channels;
    const float* const from = sums + image * chunks.count * channels + (index - image * channels);
    float sum = 0.0f;
#pragma unroll 8
    for (int64_t chunk = 0; chunk < chunks.count; ++chunk) sum += from[chunk * channels];
    mean[index] = sum / static_cast<float>(chunks.pixels);
  }
}

// to [rows][columns] = epilogue(from [rows][depth] * matrix [depth][columns]), of few rows. A block takes one row and
// 32 columns, a warp every 32nd of the depth.
template <class T>
__global__ void __launch_bounds__(kProductWarps* kWarpSize)
    product_kernel(const float* from, int64_t depth, const T* matrix, int64_t columns, Epilogue epilogue, int64_t units,
                   float* to) {
  KSEG_SHARED(parts, float[kProductWarps][kWarpSize]);
  const int64_t tiles = ceil_div(columns, kWarpSize);
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t row = unit / tiles, column = unit % tiles * kWarpSize + lane_index();
    float sum = 0.0f;
    if (column < columns) {
#pragma unroll 8
      for (int64_t k = warp_index(); k < depth; k += kProductWarps) {
        sum = fmaf(from[row * depth + k], widen(matrix[k * columns + column]), sum);
      }
    }
    __syncthreads();  // the parts of the unit before have been read
    parts[warp_index()][lane_index()] = sum;
    __syncthreads();
    if (warp_index() == 0 && column < columns) {
#pragma unroll
      for (int warp = 1; warp < kProductWarps; ++warp) sum += parts[warp][lane_index()];
      to[row * columns + column] = apply_epilogue(epilogue, column, sum);
    }
  }
}

template <class T>
Status multiply_rows(const float* from, int64_t rows, int64_t depth, const T* matrix, int64_t columns,
                     const Epilogue& epilogue, float* to, const CudaContext& context) {
  const int64_t units = rows * ceil_div(columns, kWarpSize);
  return launch(&product_kernel<T>, blocks_for(units, kProductWarps * kWarpSize), context, from, depth, matrix, columns,
                epilogue, units, to);
}

template <class T, int kWidth>
Status sum_pixels(const View<const T, 4>& x, const PixelChunks& chunks, float* sums, const CudaContext& context) {
  const int64_t channels = x.shape[3], groups = ceil_div(channels, kWarpSize * kWidth);
  const int64_t units = x.shape[0] * chunks.count * groups;
  return launch(&pixel_sums_kernel<T, kWidth>, blocks_for(units, kSumWarps * kWarpSize), context, x.data, chunks,
                channels, groups, units, sums);
}

// *share [B, columns]: what the pooled branch adds to the projection, whose rows for it are `projection`.
template <class T>
Status pooled_share(const View<const T, 4>& x, const AsppConvolution<T>& pooling, const T* projection, int64_t columns,
                    const CudaContext& context, float** share) {
  const int64_t batch = x.shape[0], channels = x.shape[3], outputs = pooling.filters.shape[3];
  const PixelChunks chunks(x.shape[1] * x.shape[2]);
  float *sums = nullptr, *mean = nullptr, *pooled = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(batch * chunks.count * channels, &sums));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(batch * channels, &mean));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(batch * outputs, &pooled));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(batch * columns, share));
  constexpr int kWidth = kVectorElements<T>;
  const auto sum = rows_are_aligned(x.data, channels, kWidth) ? &sum_pixels<T, kWidth> : &sum_pixels<T, 1>;
  KSEG_RETURN_IF_ERROR(sum(x, chunks, sums, context));
  KSEG_RETURN_IF_ERROR(
      launch(&mean_kernel, threads_for(batch * channels), context, sums, chunks, channels, batch * channels, mean));
  const Epilogue epilogue{pooling.scale.data, pooling.offset.data, pooling.activation};
  KSEG_RETURN_IF_ERROR(multiply_rows(mean, batch, channels, pooling.filters.data, outputs, epilogue, pooled, context));
  return multiply_rows(pooled, batch, outputs, projection, columns, Epilogue(), *share, context);
}

// Into channels of an array whose pixels lie `stride` elements apart.
template <class T>
Status compute_branch(const View<const T, 4>& x, const AsppConvolution<T>& branch, T* to, int64_t stride,
                      const CudaContext& context) {
  const View<T, 4> output{to, {x.shape[0], x.shape[1], x.shape[2], branch.filters.shape[3]}};
  const ConvOptions options{branch.rate};
  if (!branch.separable) {
    return atrous_conv2d_part_cuda<T>(
        {x, branch.filters, branch.scale, branch.offset, options, branch.activation, output}, stride, nullptr, context);
  }
  const SeparableFilters<T> filters{
      branch.depthwise, branch.filters, branch.depthwise_scale,      branch.depthwise_offset,
      branch.scale,     branch.offset,  branch.depthwise_activation, branch.activation};
  return atrous_separable_conv2d_part_cuda<T>(x, filters, options, output, stride, context);
}

}  // namespace

template <class T>
Status aspp_cuda(const AsppArgs<T>& args, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_aspp_args(args));
  if (args.output.empty()) return Status();
  const Shape<4>& x = args.x.shape;
  const int64_t columns = args.output.shape[3];
  int64_t width = 0;
  for (const AsppConvolution<T>& branch : args.branches) width += branch.filters.shape[3];

  T* joined = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(x[0] * x[1] * x[2] * width, &joined));
  int64_t channel = 0;
  for (const AsppConvolution<T>& branch : args.branches) {
    KSEG_RETURN_IF_ERROR(compute_branch(args.x, branch, joined + channel, width, context));
    channel += branch.filters.shape[3];
  }
  const AsppConvolution<T>& projection = args.projection;
  float* share = nullptr;
  if (!args.pooling.empty()) {
    const T* const rows = projection.filters.data + width * columns;
    KSEG_RETURN_IF_ERROR(pooled_share(args.x, args.pooling[0], rows, columns, context, &share));
  }
  const View<const T, 4> branches{joined, {x[0], x[1], x[2], width}};
  const View<const T, 4> filters{projection.filters.data, {1, 1, width, columns}};
  return atrous_conv2d_part_cuda<T>(
      {branches, filters, projection.scale, projection.offset, ConvOptions(), projection.activation, args.output},
      columns, share, context);
}

#define KSEG_INSTANTIATE(T) template KSEG_API Status aspp_cuda<T>(const AsppArgs<T>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
