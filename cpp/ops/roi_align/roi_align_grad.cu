// The backward pass: a gather without atomics. Boxes are first listed by map and image, in their order. Then a block
// takes a tile of 8 x 8 pixels: it goes through the list, picks the boxes that meet the tile, and for a few of these at
// a time tabulates how much each row and column of the tile weighs in each bin. A warp sums a row of the tile, a lane a
// vector of channels of its eight pixels: what it loads of a bin serves them all, and weights are the same for all
// lanes.
//
// Reckoning for 1000 boxes of 7 x 7 bins on a batch of 2 of 200 x 304 x 256 floats: writing the maps, 125 MB, takes
// 0.026 ms at 4.8 TB/s. A box of 30 x 30 pixels meets 20 tiles; rows of tiles that it reaches load about three bins of
// 1 KiB each, 0.4 GB for all boxes, from L1 and L2 (the gradient, 50 MB, stays there): 0.07 ms at 6 TB/s. 3800 blocks
// of 256 threads.
#include "ops/roi_align/roi_align_cuda.h"

#include <cstdint>
#include <limits>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "base/cuda/vector.cuh"
#include "ops/roi_align/roi_align_check.h"
#include "ops/roi_align/roi_align_grid.cuh"
#include "ops/roi_align/roi_align_maps_cuda.h"

namespace kseg {
namespace {

constexpr int kTile = kRoiTile;
constexpr int kThreads = kTile * kWarpSize;  // a warp per row of a tile
constexpr int kMostBins = 16;  // along an axis, tabulated at a time
constexpr int kBoxes = kThreads / (2 * kMostBins);  // tabulated at a time: each thread fills one bin of one axis

// The pixels that a box may touch: rows [top, bottom), columns [left, right).
struct Rect {
  int top, bottom, left, right;
};

// Pixels that positions in [low, high] touch, with some to spare for rounding.
KSEG_DEVICE void touched(const RoiGrid& grid, int64_t bins, int* begin, int* end) {
  const float other = grid.start + grid.bin * static_cast<float>(bins);
  const float spare = 2.0f + 1e-5f * (fabsf(grid.start) + fabsf(other));
  const float low = fminf(grid.start, other) - spare, high = fmaxf(grid.start, other) + spare;
  const float extent = static_cast<float>(grid.extent);
  *begin = low <= 0.0f ? 0 : low >= extent ? grid.extent : static_cast<int>(low);
  *end = high < 0.0f ? 0 : high >= extent ? grid.extent : min(static_cast<int>(high) + 1, grid.extent);
  if (grid.steps == 0) *begin = *end = 0;
}

// For each box its place, map * batch + image, and its pixels; counts the boxes of each place.
template <class T>
__global__ void __launch_bounds__(kThreads)
    place_kernel(const __grid_constant__ CudaRoiMaps<T> maps, const __grid_constant__ CudaRois rois, int32_t* places,
                 Rect* rects, unsigned* counts) {
  for (int64_t box = global_thread(); box < rois.count; box += global_threads()) {
    const float* const corners = rois.boxes + 4 * box;
    const int index = roi_map_of(maps, corners);
    const auto& map = maps.map[index];
    const int64_t image = roi_image_of(rois, box);
    const RoiGrid rows(corners[1], corners[3], map.spatial_scale, map.height, rois.bin_rows, rois.sampling_ratio,
                       rois.aligned);
    const RoiGrid columns(corners[0], corners[2], map.spatial_scale, map.width, rois.bin_columns, rois.sampling_ratio,
                          rois.aligned);
    Rect rect;
    touched(rows, rois.bin_rows, &rect.top, &rect.bottom);
    touched(columns, rois.bin_columns, &rect.left, &rect.right);
    int32_t place = -1;
    if (image >= 0 && image < maps.batch && rect.top < rect.bottom && rect.left < rect.right) {
      place = static_cast<int32_t>(index * maps.batch + image);
      atomicAdd(&counts[place], 1u);
    }
    places[box] = place;
    rects[box] = rect;
  }
}

// Where the list of each place begins: the sums of the counts before it. One block.
__global__ void __launch_bounds__(kThreads) begin_kernel(const unsigned* counts, int64_t places, int32_t* begins) {
  int32_t before = 0;
  for (int64_t first = 0; first < places; first += kThreads) {
    const int64_t place = first + threadIdx.x;
    int32_t total;
    const int32_t sum = block_exclusive_sum<kThreads>(place < places ? static_cast<int32_t>(counts[place]) : 0, &total);
    if (place < places) begins[place] = before + sum;
    before += total;
  }
  if (threadIdx.x == 0) begins[places] = before;
}

// The boxes of each place in their order. A block per place goes through those of the image, or all of them.
__global__ void __launch_bounds__(kThreads)
    list_kernel(const int32_t* places, const Rect* rects, const int32_t* begins, int64_t batch, int64_t place_count,
                int64_t per_image, int64_t boxes, int32_t* list, Rect* listed) {
  for (int64_t place = blockIdx.x; place < place_count; place += gridDim.x) {
    const int64_t first_box = per_image > 0 ? place % batch * per_image : 0;
    const int64_t last_box = per_image > 0 ? first_box + per_image : boxes;
    int32_t at = begins[place];
    if (at == begins[place + 1]) continue;
    for (int64_t first = first_box; first < last_box; first += kThreads) {
      const int64_t box = first + threadIdx.x;
      const bool here = box < last_box && places[box] == place;
      int32_t total;
      const int32_t before = block_exclusive_sum<kThreads>(here ? 1 : 0, &total);
      if (here) {
        list[at + before] = static_cast<int32_t>(box);
        listed[at + before] = rects[box];
      }
      at += total;
    }
  }
}

// How much the pixels of a tile along one axis weigh in some bins of some boxes.
struct Table {
  float weight[kBoxes][kMostBins][kTile];
  unsigned char touches[kBoxes][kMostBins];  // a bit per pixel that weighs anything
};

// Fills one bin of a table: pixels [first_pixel, first_pixel + kTile).
KSEG_DEVICE void tabulate(const RoiGrid& grid, int64_t bin, int first_pixel, float (&weight)[kTile],
                          unsigned char* touches) {
#pragma unroll
  for (int i = 0; i < kTile; ++i) weight[i] = 0.0f;
  const float begin = grid.bin_start(bin);
  const float first_sample = grid.first_sample(begin);
  int step = 0, last_step = grid.steps;
  constexpr float kExact = 8388608.0f;  // below, floats count samples one by one
  if (grid.count > 2.0f * kTile && grid.count < kExact && grid.bin > 0.0f) {
    // Only the samples that may touch the tile, with some to spare for rounding.
    const float to_sample = grid.count / grid.bin;
    const float low = (static_cast<float>(first_pixel - 1) - begin) * to_sample - first_sample - 4.0f;
    const float high = (static_cast<float>(first_pixel + kTile) - begin) * to_sample - first_sample + 4.0f;
    step = static_cast<int>(fminf(fmaxf(low, 0.0f), static_cast<float>(last_step)));
    last_step = static_cast<int>(fminf(fmaxf(high, 0.0f), static_cast<float>(last_step)));
  }
  unsigned bits = 0;
  for (; step < last_step; ++step) {
    const float sample = first_sample + static_cast<float>(step);
    if (!(sample < grid.count)) break;
    const float position = grid.position(begin, sample);
    if (!(position >= -1.0f) || position > static_cast<float>(grid.extent)) continue;
    const RoiSample at(position, grid.extent);
    const int low = at.low - first_pixel;
    if (low >= 0 && low < kTile && at.low_weight != 0.0f) {
      weight[low] += at.low_weight;
      bits |= 1u << low;
    }
    if (low >= -1 && low < kTile - 1 && at.high_weight != 0.0f) {
      weight[low + 1] += at.high_weight;
      bits |= 1u << (low + 1);
    }
  }
#pragma unroll
  for (int i = 0; i < kTile; ++i) weight[i] /= grid.count;
  *touches = static_cast<unsigned char>(bits);
}

// A bin that a row of the tile weighs in.
struct Work {
  int64_t offset;  // of its first channel
  int number;  // of the box, row and column in the tables
  short row, column;
};
constexpr int kMostWork = 4 * kMostBins;
constexpr int kInFlight = 4;  // loads that a thread waits for at once

struct TileShared {
  int32_t hit[kThreads];  // places in the list of boxes that meet the tile
  Table rows;
  Table columns;
  Work work[kTile][kMostWork];  // of each warp
};

// Adds what the bins of `work` give to the pixels of the warp's row.
template <class T, int kVector>
KSEG_DEVICE void sum_work(const T* from, const Work* work, int count, const Table& rows, const Table& columns,
                          bool lane_works, float (&sum)[kTile][kVector]) {
  for (int first = 0; first < count; first += kInFlight) {
    float value[kInFlight][kVector] = {};
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (first + k < count && lane_works) load_floats(from + work[first + k].offset, value[k]);
    }
#pragma unroll
    for (int k = 0; k < kInFlight; ++k) {
      if (first + k >= count) continue;
      const Work bin = work[first + k];
      const float down = rows.weight[bin.number][bin.row][warp_index()];
      const unsigned touches = columns.touches[bin.number][bin.column];
#pragma unroll
      for (int x = 0; x < kTile; ++x) {
        if ((touches >> x & 1u) == 0) continue;
        const float weight = down * columns.weight[bin.number][bin.column][x];
#pragma unroll
        for (int v = 0; v < kVector; ++v) sum[x][v] = fmaf(weight, value[k][v], sum[x][v]);
      }
    }
  }
}

template <class T, int kVector>
__global__ void __launch_bounds__(kThreads, 2)
    gather_kernel(const T* output_gradient, const __grid_constant__ CudaRois rois,
                  const __grid_constant__ CudaRoiMaps<T> maps, const __grid_constant__ RoiTiles tiles,
                  const int32_t* begins, const int32_t* list, const Rect* listed) {
  KSEG_SHARED(shared, TileShared);
  const int64_t channels = maps.channels;
  const int64_t box_size = rois.bin_rows * rois.bin_columns * channels;
  for (int64_t unit = blockIdx.x; unit < tiles.units; unit += gridDim.x) {
    int index = 0;
    while (index + 1 < maps.count && unit >= tiles.first_unit[index + 1]) ++index;
    const auto& map = maps.map[index];
    int64_t rest = unit - tiles.first_unit[index];
    const int64_t channel = (rest % tiles.slices * kWarpSize + lane_index()) * kVector;
    rest /= tiles.slices;
    const int64_t tile_columns = ceil_div(map.width, kTile), tile_rows = ceil_div(map.height, kTile);
    const int left = static_cast<int>(rest % tile_columns) * kTile;
    rest /= tile_columns;
    const int top = static_cast<int>(rest % tile_rows) * kTile;
    const int64_t image = rest / tile_rows;
    const int64_t place = index * maps.batch + image;
    const bool lane_works = channel < channels;
    const T* const from = output_gradient + channel;
    Work* const work = shared.work[warp_index()];
    float sum[kTile][kVector] = {};
    const int32_t end = begins[place + 1];
    for (int32_t first = begins[place]; first < end; first += kThreads) {
      const int32_t candidate = first + static_cast<int32_t>(threadIdx.x);
      bool meets = false;
      if (candidate < end) {
        const Rect rect = listed[candidate];
        meets = rect.top < top + kTile && rect.bottom > top && rect.left < left + kTile && rect.right > left;
      }
      int hits;
      const int before = block_exclusive_sum<kThreads>(meets ? 1 : 0, &hits);
      if (meets) shared.hit[before] = candidate;
      for (int first_hit = 0; first_hit < hits; first_hit += kBoxes) {
        const int boxes = min(kBoxes, hits - first_hit);
        for (int64_t first_row = 0; first_row < rois.bin_rows; first_row += kMostBins) {
          for (int64_t first_column = 0; first_column < rois.bin_columns; first_column += kMostBins) {
            __syncthreads();  // hits are written, tables of before are read
            {
              const int number = static_cast<int>(threadIdx.x) / (2 * kMostBins);
              const bool of_rows = threadIdx.x % 2 == 0;
              const int slot = static_cast<int>(threadIdx.x) / 2 % kMostBins;
              const int64_t bin = (of_rows ? first_row : first_column) + slot;
              const int64_t bins = of_rows ? rois.bin_rows : rois.bin_columns;
              Table& table = of_rows ? shared.rows : shared.columns;
              if (number < boxes && bin < bins) {
                const float* const corners =
                    rois.boxes + 4 * static_cast<int64_t>(list[shared.hit[first_hit + number]]);
                const RoiGrid grid(corners[of_rows ? 1 : 0], corners[of_rows ? 3 : 2], map.spatial_scale,
                                   of_rows ? map.height : map.width, bins, rois.sampling_ratio, rois.aligned);
                tabulate(grid, bin, of_rows ? top : left, table.weight[number][slot], &table.touches[number][slot]);
              } else {
                table.touches[number][slot] = 0;
              }
            }
            __syncthreads();
            int count = 0;
            for (int number = 0; number < boxes; ++number) {
              // A bit per bin that the warp's row, or any column of the tile, weighs in.
              const int slot = lane_index() % kMostBins;
              const bool first_half = lane_index() < kMostBins;
              const bool row_touched = (shared.rows.touches[number][slot] >> warp_index() & 1) != 0;
              unsigned row_bins = __ballot_sync(kFullMask, row_touched && first_half);
              if (row_bins == 0) continue;
              const bool column_touched = first_half && shared.columns.touches[number][slot] != 0;
              const unsigned column_bins = __ballot_sync(kFullMask, column_touched);
              const int before = __popc(column_bins & ((1u << slot) - 1u));
              const int64_t box = list[shared.hit[first_hit + number]];
              for (; row_bins != 0; row_bins &= row_bins - 1) {
                const int row = __ffs(static_cast<int>(row_bins)) - 1;
                if (column_touched) {
                  const int64_t bin = (first_row + row) * rois.bin_columns + first_column + slot;
                  work[count + before] = {box * box_size + bin * channels, number, static_cast<short>(row),
                                          static_cast<short>(slot)};
                }
                count += __popc(column_bins);
                if (count > kMostWork - kMostBins) {
                  __syncwarp();
                  sum_work(from, work, count, shared.rows, shared.columns, lane_works, sum);
                  __syncwarp();
                  count = 0;
                }
              }
            }
            __syncwarp();
            sum_work(from, work, count, shared.rows, shared.columns, lane_works, sum);
          }
        }
      }
      __syncthreads();  // the hits have been used
    }
    const int row = top + warp_index();
    if (row < map.height && lane_works) {
      T* const to = map.data + ((image * map.height + row) * map.width + left) * channels + channel;
#pragma unroll
      for (int x = 0; x < kTile; ++x) {
        if (left + x < map.width) store_floats(to + x * channels, sum[x]);
      }
    }
  }
}

template <class T>
bool can_use_vectors(const T* output_gradient, const CudaRoiMaps<T>& maps) {
  bool aligned = rows_are_aligned(output_gradient, maps.channels, kRoiGradVector);
  for (int i = 0; i < maps.count; ++i) {
    aligned = aligned && rows_are_aligned(maps.map[i].data, maps.channels, kRoiGradVector);
  }
  return aligned;
}

}  // namespace

template <class T>
Status unpool_rois_cuda(const T* output_gradient, const CudaRois& rois, const CudaRoiMaps<T>& maps,
                        const CudaContext& context) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t places = maps.count * maps.batch;
  if (rois.count > kMost || places > kMost) {
    return invalid_argument("boxes and maps must be fewer than 2**31 on a GPU, got ", rois.count, " and ", places);
  }
  if (maps.channels == 0 || maps.batch == 0) return Status();
  Rect *rects = nullptr, *listed = nullptr;
  int32_t *place_of_box = nullptr, *begins = nullptr, *list = nullptr;
  unsigned* counts = nullptr;
  Scratch* const scratch = context.scratch;
  KSEG_RETURN_IF_ERROR(scratch->allocate(places, &counts));
  KSEG_RETURN_IF_ERROR(scratch->allocate(places + 1, &begins));
  KSEG_RETURN_IF_ERROR(scratch->allocate(rois.count, &place_of_box));
  KSEG_RETURN_IF_ERROR(scratch->allocate(rois.count, &rects));
  KSEG_RETURN_IF_ERROR(scratch->allocate(rois.count, &list));
  KSEG_RETURN_IF_ERROR(scratch->allocate(rois.count, &listed));
  KSEG_RETURN_IF_ERROR(fill_bytes(counts, 0, places, context));
  KSEG_RETURN_IF_ERROR(
      launch(&place_kernel<T>, threads_for(rois.count, kThreads), context, maps, rois, place_of_box, rects, counts));
  KSEG_RETURN_IF_ERROR(launch(&begin_kernel, blocks_for(1, kThreads), context, counts, places, begins));
  if (rois.count > 0) {
    const int64_t per_image = rois.images == nullptr ? rois.per_image : 0;
    KSEG_RETURN_IF_ERROR(launch(&list_kernel, blocks_for(places, kThreads), context, place_of_box, rects, begins,
                                maps.batch, places, per_image, rois.count, list, listed));
  }
  const bool vectors = can_use_vectors(output_gradient, maps);
  const RoiTiles tiles = roi_tiles(maps, vectors ? kRoiGradVector : 1);
  const auto kernel = vectors ? &gather_kernel<T, kRoiGradVector> : &gather_kernel<T, 1>;
  return launch(kernel, blocks_for(tiles.units, kThreads), context, output_gradient, rois, maps, tiles, begins, list,
                listed);
}

template <class T>
Status roi_align_grad_cuda(const View<const T, 4>& output_gradient, const Rois& rois, const RoiAlignOptions& options,
                           const View<T, 4>& features_gradient, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_roi_align_shapes({"features_shape", "output_gradient"}, features_gradient.shape,
                                              output_gradient.shape, rois, options));
  return unpool_rois_cuda<T>(output_gradient.data, cuda_rois(rois, options, output_gradient.shape),
                             cuda_roi_map(features_gradient, options), context);
}

#define KSEG_INSTANTIATE(T)                                                                                     \
  template Status unpool_rois_cuda<T>(const T*, const CudaRois&, const CudaRoiMaps<T>&, const CudaContext&);    \
  template KSEG_API Status roi_align_grad_cuda<T>(const View<const T, 4>&, const Rois&, const RoiAlignOptions&, \
                                                  const View<T, 4>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
