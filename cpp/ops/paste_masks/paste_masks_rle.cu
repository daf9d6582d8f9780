// Run lengths by columns: first how often the pixel changes in each column, with which every column knows its place,
// and once the result is there the same walk again, which writes where. A block takes 64 columns of a mask, a thread
// each goes down its own; what the rows read is worked out by all threads for 64 rows at a time.
//
// Reckoning for 100 masks of 28 x 28 with boxes of 250 x 250 in 800 x 1216 on an H200: 6 M pixels, twice, at some 40
// instructions, 0.02 ms each time. 1900 blocks, of which 500 do something, are under way at once: what counts is that
// a thread goes down 250 rows at 100 cycles, 0.015 ms. With the scans and the wait for the size some 0.1 ms. The bits
// in between would be 12 MB.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "ops/paste_masks/paste_axis.h"
#include "ops/paste_masks/paste_masks_check.h"
#include "ops/paste_masks/paste_masks_cuda.h"
#include "ops/paste_masks/paste_pixel.cuh"

namespace kseg {
namespace {

constexpr int kColumns = 64;  // and threads of a block
constexpr int kScanThreads = 256;

template <class T>
struct RunParams {
  const T* masks;
  const float* boxes;
  PasteOptions options;
  float scale;
  int64_t count;
  int64_t mask_height;
  int64_t mask_width;
  int64_t strips;  // of columns
};

struct RunTile {
  PasteBox box;
  PasteTap rows[kColumns];
};

// A change is a pixel that differs from the one before it in the order of columns, zero before the first. Without
// kWrite, columns [count][width] becomes how many there are in each column. With it, `columns` says how many there are
// before each of them in its mask, and changes [room] at splits[mask] and behind become their pixels.
template <class T, bool kWrite>
__global__ void __launch_bounds__(kColumns)
    change_kernel(const __grid_constant__ RunParams<T> params, uint32_t* columns, const int64_t* splits, int64_t room,
                  uint32_t* changes) {
  KSEG_SHARED(tile, RunTile);
  const int64_t height = params.options.height, width = params.options.width;
  for (int64_t unit = blockIdx.x; unit < params.count * params.strips; unit += gridDim.x) {
    const int64_t index = unit / params.strips, first_column = unit % params.strips * kColumns;
    const int64_t x = first_column + threadIdx.x;
    uint32_t* const column = columns + index * width + x;
    __syncthreads();  // the box of before has been read
    if (threadIdx.x == 0) {
      tile.box =
          paste_box(params.boxes + 4 * index, params.mask_height, params.mask_width, params.scale, params.options);
    }
    __syncthreads();
    const PasteBox& box = tile.box;
    // The column behind the box may end a run that reaches the last row.
    const bool reached = !box.empty() && first_column <= box.x.end && first_column + kColumns > box.x.begin;
    uint32_t found = 0;
    if (reached) {
      const PastedMask<T> mask{params.masks + index * params.mask_height * params.mask_width, params.mask_height,
                               params.mask_width};
      const int64_t first_change = kWrite && x < width ? splits[index] + *column : 0;
      const auto change = [&](int64_t row) {
        if (kWrite && first_change + found < room) {
          changes[first_change + found] = static_cast<uint32_t>(x * height + row);
        }
        ++found;
      };
      const auto set = [&](const PasteTap& row, const PasteTap& across) {
        return is_set(mask, box.x.formula, row, across, params.options.threshold);
      };
      const bool inside = x >= box.x.begin && x < box.x.end;
      bool before = x < width && x > box.x.begin && x <= box.x.end && box.y.end == height &&
                    set(paste_tap(box.y, height - 1), paste_tap(box.x, x - 1));
      if (before && (box.y.begin > 0 || !inside)) {
        change(0);
        before = false;
      }
      const PasteTap across = paste_tap(box.x, x);
      for (int64_t first = box.y.begin; first < box.y.end; first += kColumns) {
        __syncthreads();  // the rows of before have been read
        tile.rows[threadIdx.x] = paste_tap(box.y, first + threadIdx.x);
        __syncthreads();
        const int rows = static_cast<int>(min(box.y.end - first, static_cast<int64_t>(kColumns)));
        for (int row = 0; row < rows && inside; ++row) {
          const bool now = set(tile.rows[row], across);
          if (now != before) change(first + row);
          before = now;
        }
      }
      if (before && box.y.end < height) change(box.y.end);
    }
    if (!kWrite && x < width) *column = found;
  }
}

// Numbers of changes to how many there are before each column of the mask. splits[mask + 1] becomes the number of runs.
__global__ void __launch_bounds__(kScanThreads)
    scan_columns_kernel(uint32_t* columns, int64_t width, int64_t count, int64_t* splits) {
  for (int64_t mask = blockIdx.x; mask < count; mask += gridDim.x) {
    uint32_t before = 0;
    for (int64_t first = 0; first < width; first += kScanThreads) {
      const int64_t x = first + threadIdx.x;
      uint32_t* const column = columns + mask * width + x;
      uint32_t all;
      const uint32_t sum = block_exclusive_sum<kScanThreads>(x < width ? *column : 0u, &all);
      if (x < width) *column = before + sum;
      before += all;
    }
    if (threadIdx.x == 0) splits[mask + 1] = int64_t{before} + 1;
  }
}

// Numbers of runs to where they end. One block.
__global__ void __launch_bounds__(kScanThreads) scan_masks_kernel(int64_t count, int64_t* splits) {
  int64_t before = 0;
  for (int64_t first = 0; first < count; first += kScanThreads) {
    const int64_t mask = first + threadIdx.x;
    const int64_t runs = mask < count ? splits[mask + 1] : 0;
    int64_t all;
    const int64_t sum = block_exclusive_sum<kScanThreads>(runs, &all);
    if (mask < count) splits[mask + 1] = before + sum + runs;
    before += all;
  }
  if (threadIdx.x == 0) splits[0] = 0;
}

// A mask's last run ends with the mask.
__global__ void __launch_bounds__(kScanThreads)
    length_kernel(const uint32_t* changes, const int64_t* splits, int64_t count, uint32_t pixels, int64_t room,
                  int32_t* counts) {
  for (int64_t mask = blockIdx.x; mask < count; mask += gridDim.x) {
    const int64_t begin = splits[mask], end = splits[mask + 1];
    for (int64_t i = begin + threadIdx.x; i < min(end, room); i += blockDim.x) {
      const uint32_t from = i > begin ? changes[i - 1] : 0u, to = i + 1 < end ? changes[i] : pixels;
      counts[i] = static_cast<int32_t>(to - from);
    }
  }
}

template <class T>
RunParams<T> run_params(const View<const T, 3>& masks, const View<const float, 2>& boxes, const PasteOptions& options) {
  const auto [count, height, width] = masks.shape;
  return {masks.data, boxes.data, options, width > 0 ? paste_scale(width) : 1.0f,
          count,      height,     width,   ceil_div(options.width, kColumns)};
}

}  // namespace

template <class T>
Status count_pasted_runs_cuda(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                              const PasteOptions& options, const View<int64_t, 1>& splits, uint32_t** columns,
                              const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_paste_arrays(masks.shape, boxes.shape, options, 0));
  const int64_t count = masks.shape[0];
  if (splits.shape[0] != count + 1) {
    return invalid_argument("splits must have ", count + 1, " entries for ", count, " masks, got ", splits.shape[0]);
  }
  const RunParams<T> params = run_params(masks, boxes, options);
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(count * options.width, columns));
  const auto kernel = &change_kernel<T, false>;
  KSEG_RETURN_IF_ERROR(
      launch(kernel, blocks_for(count * params.strips, kColumns), context, params, *columns, nullptr, 0, nullptr));
  KSEG_RETURN_IF_ERROR(launch(&scan_columns_kernel, blocks_for(count, kScanThreads), context, *columns, options.width,
                              count, splits.data));
  return launch(&scan_masks_kernel, blocks_for(1, kScanThreads), context, count, splits.data);
}

Status read_run_count_cuda(const View<const int64_t, 1>& splits, int64_t* count, const CudaContext& context) {
  return read_elements(count, splits.data + splits.shape[0] - 1, 1, context);
}

template <class T>
Status write_pasted_runs_cuda(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                              const PasteOptions& options, const View<const int64_t, 1>& splits, uint32_t* columns,
                              const View<int32_t, 1>& counts, const CudaContext& context) {
  const RunParams<T> params = run_params(masks, boxes, options);
  uint32_t* changes = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(counts.shape[0], &changes));
  const auto kernel = &change_kernel<T, true>;
  KSEG_RETURN_IF_ERROR(launch(kernel, blocks_for(params.count * params.strips, kColumns), context, params, columns,
                              splits.data, counts.shape[0], changes));
  KSEG_RETURN_IF_ERROR(fill_bytes(counts.data, 0xff, counts.shape[0], context));
  return launch(&length_kernel, blocks_for(params.count, kScanThreads), context, changes, splits.data, params.count,
                static_cast<uint32_t>(options.height * options.width), counts.shape[0], counts.data);
}

#define KSEG_INSTANTIATE(T)                                                                                         \
  template KSEG_API Status count_pasted_runs_cuda<T>(const View<const T, 3>&, const View<const float, 2>&,          \
                                                     const PasteOptions&, const View<int64_t, 1>&, uint32_t**,      \
                                                     const CudaContext&);                                           \
  template KSEG_API Status write_pasted_runs_cuda<T>(const View<const T, 3>&, const View<const float, 2>&,          \
                                                     const PasteOptions&, const View<const int64_t, 1>&, uint32_t*, \
                                                     const View<int32_t, 1>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
