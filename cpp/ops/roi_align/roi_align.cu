// The forward pass. A block pools bins of one row of one box: its threads first list the pixels and weights that each
// bin reads along either axis, and then sum them, each thread a vector of channels of a bin, so that a warp reads whole
// stretches of a pixel.
//
// Reckoning for 1000 boxes to 7 x 7 on 200 x 304 x 256 floats: 49,000 bins read at most 4 x 4 pixels of 1 KiB, 0.8 GB,
// of which boxes and bins share most: it comes from L1 (30 TB/s on an H200) and L2 (some 6 TB/s), 0.05 to 0.13 ms; the
// output is 50 MB, 0.01 ms at 4.8 TB/s. 7000 blocks of 224 threads fill 132 multiprocessors six times over.
#include "ops/roi_align/roi_align_cuda.h"

#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/roi_align/roi_align_check.h"
#include "ops/roi_align/roi_align_grid.cuh"
#include "ops/roi_align/roi_align_maps_cuda.h"

namespace kseg {
namespace {

constexpr int kMostThreads = 256;
constexpr int kMostBins = 16;  // of a row that a block pools; one thread lists the taps of each
constexpr int kMostSamples = 16;  // of a bin along an axis that are listed at a time
constexpr int kMostTaps = 2 * kMostSamples;
constexpr int64_t kMostChannels = 1 << 26;

struct Tap {
  int pixel;
  float weight;
};

struct TapList {
  int count;
  Tap tap[kMostTaps];
};

// The taps of samples [first_step, first_step + kMostSamples) of a bin, in rising order, with nonzero weights.
KSEG_DEVICE void list_taps(const RoiGrid& grid, int64_t bin, int first_step, TapList* list) {
  const float begin = grid.bin_start(bin);
  const float first_sample = grid.first_sample(begin);
  const int last_step = min(grid.steps - first_step, kMostSamples);
  int count = 0;
  int last_pixel = -1;
  float last_weight = 0.0f;
  for (int i = 0; i < last_step; ++i) {
    const float sample = first_sample + static_cast<float>(first_step + i);
    if (!(sample < grid.count)) break;
    const float position = grid.position(begin, sample);
    if (position > static_cast<float>(grid.extent)) break;
    if (!(position >= -1.0f)) continue;
    const RoiSample at(position, grid.extent);
    // Positions rise: the pixel is the last one of the list, the one before it, or new.
    const int pixels[2] = {at.low, at.low + 1};
    const float weights[2] = {at.low_weight, at.high_weight};
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      if (weights[side] == 0.0f) continue;
      if (pixels[side] == last_pixel) {
        last_weight += weights[side];
        list->tap[count - 1].weight = last_weight;
      } else if (pixels[side] < last_pixel) {
        list->tap[count - 2].weight += weights[side];
      } else {
        last_pixel = pixels[side];
        last_weight = weights[side];
        list->tap[count++] = {last_pixel, last_weight};
      }
    }
  }
  for (int i = 0; i < count; ++i) list->tap[i].weight /= grid.count;
  list->count = count;
}

// What a block knows about the box that it pools, of which no thread has to keep a copy in registers.
struct BoxTaps {
  int row_steps;
  int column_steps;
  TapList rows;
  TapList columns[kMostBins];
};

// Lists the taps of bins [first_bin, first_bin + bins) of a row from the given steps on; every thread of the block
// calls it. `known`: the box names an image.
template <class T>
KSEG_DEVICE void list_box(const typename CudaRoiMaps<T>::Map& map, const CudaRois& rois, const float* corners,
                          bool known, int64_t row, int64_t first_bin, int bins, int row_step, int column_step,
                          BoxTaps* taps) {
  const int thread = static_cast<int>(threadIdx.x);
  __syncthreads();  // the taps of before have been read
  if (thread < bins) {
    const RoiGrid grid(corners[0], corners[2], map.spatial_scale, map.width, rois.bin_columns, rois.sampling_ratio,
                       rois.aligned);
    list_taps(grid, first_bin + thread, column_step, &taps->columns[thread]);
    if (thread == 0) taps->column_steps = grid.steps;
  } else if (thread == kWarpSize - 1) {
    const RoiGrid grid(corners[1], corners[3], map.spatial_scale, map.height, rois.bin_rows, rois.sampling_ratio,
                       rois.aligned);
    list_taps(grid, row, row_step, &taps->rows);
    taps->row_steps = known ? grid.steps : 0;
    if (!known) taps->rows.count = 0;
  }
  __syncthreads();
}

// Blocks of a multiprocessor. Before sm_90 the vectors of eight halves do not fit into the registers of four.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
template <int kVector>
inline constexpr int kBlocks = kVector > 4 ? 3 : 4;
#else
template <int kVector>
inline constexpr int kBlocks = 4;
#endif

template <class T, int kVector>
__global__ void __launch_bounds__(kMostThreads, kBlocks<kVector>)
    pool_kernel(const __grid_constant__ CudaRoiMaps<const T> maps, const __grid_constant__ CudaRois rois, int groups,
                int group_bins, T* output) {
  KSEG_SHARED(taps, BoxTaps);
  const int vectors = static_cast<int>(maps.channels / kVector);
  const int64_t units = rois.count * rois.bin_rows * groups;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t line = unit / groups;
    const int64_t first_bin = (unit - line * groups) * group_bins;
    const int64_t box = line / rois.bin_rows;
    const int64_t row = line - box * rois.bin_rows;
    const float* const corners = rois.boxes + 4 * box;
    const auto& map = maps.map[roi_map_of(maps, corners)];
    const int64_t image = roi_image_of(rois, box);
    const bool known = image >= 0 && image < maps.batch;
    const int bins = static_cast<int>(min(static_cast<int64_t>(group_bins), rois.bin_columns - first_bin));
    const int items = bins * vectors;
    const int64_t row_size = map.width * maps.channels;
    const T* const from = map.data + image * map.height * row_size;
    T* const to = output + ((box * rois.bin_rows + row) * rois.bin_columns + first_bin) * maps.channels;
    bool listed = false;
    for (int first = 0; first < items; first += static_cast<int>(blockDim.x)) {
      const int item = first + static_cast<int>(threadIdx.x);
      const T* const vector = from + static_cast<int64_t>(item % vectors) * kVector;
      float sum[kVector] = {};
      int row_step = 0, column_step = 0;
      do {
        if (!listed) list_box<const T>(map, rois, corners, known, row, first_bin, bins, row_step, column_step, &taps);
        if (item < items) {
          const TapList& across = taps.columns[item / vectors];
          for (int i = 0; i < taps.rows.count; ++i) {
            const Tap down = taps.rows.tap[i];
            const T* const line = vector + down.pixel * row_size;
#pragma unroll 4
            for (int j = 0; j < across.count; ++j) {
              const Tap tap = across.tap[j];
              const float weight = down.weight * tap.weight;
              float value[kVector];
              load_floats(line + tap.pixel * maps.channels, value);
#pragma unroll
              for (int v = 0; v < kVector; ++v) sum[v] = fmaf(weight, value[v], sum[v]);
            }
          }
        }
        column_step += kMostSamples;
        if (column_step >= taps.column_steps || taps.row_steps == 0) {
          column_step = 0;
          row_step += kMostSamples;
        }
      } while (row_step < taps.row_steps);
      listed = taps.row_steps <= kMostSamples && taps.column_steps <= kMostSamples;
      if (item < items) store_floats(to + static_cast<int64_t>(item) * kVector, sum);
    }
  }
}

template <class T, int kVector>
Status launch_pool(const CudaRoiMaps<const T>& maps, const CudaRois& rois, T* output, const CudaContext& context) {
  const RoiPoolShape shape = roi_pool_shape(rois.count, rois.bin_rows, rois.bin_columns, maps.channels / kVector);
  return launch(&pool_kernel<T, kVector>, shape.launch, context, maps, rois, shape.groups, shape.group_bins, output);
}

}  // namespace

RoiPoolShape roi_pool_shape(int64_t boxes, int64_t bin_rows, int64_t bin_columns, int64_t vectors) {
  RoiPoolShape shape;
  shape.groups = static_cast<int>(ceil_div(bin_columns, kMostBins));
  shape.group_bins = static_cast<int>(ceil_div(bin_columns, shape.groups));
  shape.launch = blocks_for(boxes * bin_rows * shape.groups, block_threads(shape.group_bins * vectors, kMostThreads));
  return shape;
}

template <class T>
Status pool_rois_cuda(const CudaRoiMaps<const T>& maps, const CudaRois& rois, T* output, const CudaContext& context) {
  if (maps.channels > kMostChannels) {
    return invalid_argument("features must have at most ", kMostChannels, " channels on a GPU, got ", maps.channels);
  }
  if (rois.count == 0 || maps.channels == 0) return Status();
  bool vectors = rows_are_aligned(output, maps.channels, kVectorElements<T>);
  for (int i = 0; i < maps.count; ++i) {
    vectors = vectors && rows_are_aligned(maps.map[i].data, maps.channels, kVectorElements<T>);
  }
  return vectors ? launch_pool<T, kVectorElements<T>>(maps, rois, output, context)
                 : launch_pool<T, 1>(maps, rois, output, context);
}

template <class T>
Status roi_align_cuda(const View<const T, 4>& features, const Rois& rois, const RoiAlignOptions& options,
                      const View<T, 4>& output, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_roi_align_shapes({"features", "output"}, features.shape, output.shape, rois, options));
  return pool_rois_cuda<T>(cuda_roi_map(features, options), cuda_rois(rois, options, output.shape), output.data,
                           context);
}

#define KSEG_INSTANTIATE(T)                                                                                \
  template Status pool_rois_cuda<T>(const CudaRoiMaps<const T>&, const CudaRois&, T*, const CudaContext&); \
  template KSEG_API Status roi_align_cuda<T>(const View<const T, 4>&, const Rois&, const RoiAlignOptions&, \
                                             const View<T, 4>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
