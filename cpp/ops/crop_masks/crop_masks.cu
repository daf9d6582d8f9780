// A thread makes one value by itself: it lists the columns that its bin reads, and goes down the rows. The sum over a
// row's columns is made once for all samples that read the row. In run-length encoded masks a list's columns remember
// the run that they are in, so that only the first row needs a search; in polygons, 32 rows as bits.
//
// Reckoning for 1000 boxes of 200 x 200 to 28 x 28 on an H200: 784,000 values of some 8 rows and columns, 50 M pixels
// at some 12 instructions: 0.04 ms. Of run lengths, 6 M searches of 9 steps and 50 M looks at a run, most from L1: 0.2
// ms. Of polygons with 50 corners, 10 M columns of 32 rows: 50 edges at some 10 instructions and 4 crossings at some
// 200, a fourth of them on doubles: 0.7 ms, in proportion to the corners.
#include "ops/crop_masks/crop_masks_cuda.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "ops/crop_masks/crop_masks_check.h"
#include "ops/crop_masks/polygon_masks.cuh"
#include "ops/roi_align/roi_align_grid.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 64;
constexpr int kSamples = 8;  // of columns, listed at a time
constexpr int kTaps = 2 * kSamples;
constexpr int kScanThreads = 256;

// A sum of floats with what rounding took from it.
struct Sum {
  float high = 0.0f;
  float low = 0.0f;

  KSEG_DEVICE void add(float value, float rest) {
    const float sum = high + value;
    const float part = sum - high;
    low += (high - (sum - part)) + (value - part) + rest;
    high = sum;
  }
  KSEG_DEVICE void add_product(float factor, const Sum& sum) {
    const float product = factor * sum.high;
    add(product, fmaf(factor, sum.high, -product) + factor * sum.low);
  }
};

// The columns of each thread's bin, in rising order.
struct ColumnTaps {
  int pixel[kTaps][kThreads];
  float high[kTaps][kThreads];  // the sum of the samples' weights
  float low[kTaps][kThreads];
  int64_t cursor[kTaps][kThreads];  // what the source remembers
};

struct CropParams {
  const float* boxes;
  const int32_t* mask_indices;
  int64_t count;
  int64_t masks;
  int height;  // of the masks
  int width;
  int64_t bin_rows;
  int64_t bin_columns;
  int sampling_ratio;
  bool aligned;
};

struct DenseMasks {
  const uint8_t* data;

  KSEG_DEVICE int64_t start(const CropParams&, int64_t, int) const { return 0; }
  KSEG_DEVICE bool at(const CropParams& params, int64_t mask, int y, int x, int64_t*) const {
    return data[(mask * params.height + y) * params.width + x] != 0;
  }
};

struct PackedMasks {
  const uint8_t* data;
  int64_t row_bytes;

  KSEG_DEVICE int64_t start(const CropParams&, int64_t, int) const { return 0; }
  KSEG_DEVICE bool at(const CropParams& params, int64_t mask, int y, int x, int64_t*) const {
    return (data[(mask * params.height + y) * row_bytes + x / 8] >> x % 8 & 1) != 0;
  }
};

struct RunMasks {
  const int64_t* splits;
  const uint32_t* ends;  // of each run, in pixels of its mask
  int64_t total;

  KSEG_DEVICE int64_t split(int64_t index) const { return max(min(splits[index], total), static_cast<int64_t>(0)); }

  // The run that a column begins in, or the one behind the last.
  KSEG_DEVICE int64_t start(const CropParams& params, int64_t mask, int x) const {
    const uint32_t pixel = static_cast<uint32_t>(x) * static_cast<uint32_t>(params.height);
    int64_t begin = split(mask), end = split(mask + 1);
    while (begin < end) {
      const int64_t middle = begin + (end - begin) / 2;
      if (ends[middle] <= pixel) {
        begin = middle + 1;
      } else {
        end = middle;
      }
    }
    return begin;
  }
  KSEG_DEVICE bool at(const CropParams& params, int64_t mask, int y, int x, int64_t* cursor) const {
    const uint32_t pixel = static_cast<uint32_t>(x) * static_cast<uint32_t>(params.height) + static_cast<uint32_t>(y);
    const int64_t begin = split(mask), end = split(mask + 1);
    int64_t run = *cursor;
    while (run < end && ends[run] <= pixel) ++run;
    *cursor = run;
    return run < end && (run - begin) % 2 != 0;
  }
};

struct PolygonColumns {
  PolygonMasks polygons;

  // A cursor is 32 rows as bits below the number of the 32 rows: at first, of none.
  KSEG_DEVICE int64_t start(const CropParams&, int64_t, int) const { return -1; }
  KSEG_DEVICE bool at(const CropParams& params, int64_t mask, int y, int x, int64_t* cursor) const {
    const int64_t part = y / PolygonMasks::kRows;
    if (*cursor >> 32 != part) {
      *cursor = part << 32 | polygons.bits(mask, x, part * PolygonMasks::kRows, params.height);
    }
    return (*cursor >> y % PolygonMasks::kRows & 1) != 0;
  }
};

// Calls visit(sample) for those of samples [first, first + most) of a bin that fall on the mask.
template <class Visit>
KSEG_DEVICE void visit_samples(const RoiGrid& grid, int64_t bin, int first, int most, const Visit& visit) {
  const float begin = grid.bin_start(bin);
  const float first_sample = grid.first_sample(begin);
  const int last = min(grid.steps - first, most);
  for (int i = 0; i < last; ++i) {
    const float sample = first_sample + static_cast<float>(first + i);
    if (!(sample < grid.count)) break;
    const float position = grid.position(begin, sample);
    if (position > static_cast<float>(grid.extent)) break;
    if (position >= -1.0f) visit(RoiSample(position, grid.extent));
  }
}

template <class Masks>
KSEG_DEVICE int list_columns(const CropParams& params, const Masks& masks, int64_t mask, const RoiGrid& grid,
                             int64_t bin, int first, ColumnTaps* taps) {
  const int thread = static_cast<int>(threadIdx.x);
  int count = 0;
  const auto add = [&](int pixel, float weight) {
    if (weight == 0.0f) return;
    for (int i = count - 1; i >= 0 && i >= count - 2; --i) {
      if (taps->pixel[i][thread] != pixel) continue;
      Sum sum{taps->high[i][thread], taps->low[i][thread]};
      sum.add(weight, 0.0f);
      taps->high[i][thread] = sum.high;
      taps->low[i][thread] = sum.low;
      return;
    }
    taps->pixel[count][thread] = pixel;
    taps->high[count][thread] = weight;
    taps->low[count][thread] = 0.0f;
    taps->cursor[count][thread] = masks.start(params, mask, pixel);
    ++count;
  };
  visit_samples(grid, bin, first, kSamples, [&](const RoiSample& sample) {
    add(sample.low, sample.low_weight / grid.count);
    add(sample.low + 1, sample.high_weight / grid.count);
  });
  return count;
}

template <class Masks>
__global__ void __launch_bounds__(kThreads)
    crop_kernel(const __grid_constant__ CropParams params, const __grid_constant__ Masks masks, float* output) {
  KSEG_SHARED(taps, ColumnTaps);  // each thread's own
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t size = params.bin_rows * params.bin_columns;
  for (int64_t item = global_thread(); item < params.count * size; item += global_threads()) {
    const int64_t box = item / size;
    const int64_t bin_row = item % size / params.bin_columns, bin_column = item % params.bin_columns;
    const int64_t mask = params.mask_indices[box];
    const float* const corners = params.boxes + 4 * box;
    Sum total;
    if (mask >= 0 && mask < params.masks && params.height > 0 && params.width > 0) {
      const RoiGrid columns(corners[0], corners[2], 1.0f, params.width, params.bin_columns, params.sampling_ratio,
                            params.aligned);
      const RoiGrid rows(corners[1], corners[3], 1.0f, params.height, params.bin_rows, params.sampling_ratio,
                         params.aligned);
      for (int first = 0; first < columns.steps && rows.steps > 0; first += kSamples) {
        const int count = list_columns(params, masks, mask, columns, bin_column, first, &taps);
        if (count == 0) continue;
        const auto row_sum = [&](int y) {
          Sum sum;
          for (int i = 0; i < count; ++i) {
            int64_t cursor = taps.cursor[i][thread];
            const bool set = masks.at(params, mask, y, taps.pixel[i][thread], &cursor);
            taps.cursor[i][thread] = cursor;
            if (set) sum.add(taps.high[i][thread], taps.low[i][thread]);
          }
          return sum;
        };
        int held = -2;  // the row whose sum is `upper`; `lower` is that of the next one
        bool has_lower = false;
        Sum upper, lower;
        visit_samples(rows, bin_row, 0, rows.steps, [&](const RoiSample& sample) {
          if (sample.low != held) {
            upper = has_lower && sample.low == held + 1 ? lower : row_sum(sample.low);
            held = sample.low;
            has_lower = false;
          }
          total.add_product(sample.low_weight / rows.count, upper);
          if (sample.high_weight == 0.0f) return;
          if (!has_lower) lower = row_sum(sample.low + 1);
          has_lower = true;
          total.add_product(sample.high_weight / rows.count, lower);
        });
      }
    }
    output[item] = total.high + total.low;
  }
}

// Run lengths to where runs end.
__global__ void __launch_bounds__(kScanThreads)
    scan_kernel(const int32_t* counts, const __grid_constant__ RunMasks masks, int64_t count, uint32_t* ends) {
  for (int64_t mask = blockIdx.x; mask < count; mask += gridDim.x) {
    uint32_t before = 0;
    const int64_t begin = masks.split(mask), end = masks.split(mask + 1);
    for (int64_t first = begin; first < end; first += kScanThreads) {
      const int64_t i = first + threadIdx.x;
      const uint32_t length = i < end ? static_cast<uint32_t>(counts[i]) : 0u;
      uint32_t all;
      const uint32_t start = before + block_exclusive_sum<kScanThreads>(length, &all);
      if (i < end) ends[i] = start + length;
      before += all;
    }
  }
}

template <class Masks>
Status launch_crop(const Masks& masks, int64_t mask_count, const CropImageSize& image_size, const CropBoxes& boxes,
                   const CropMasksOptions& options, const View<float, 3>& output, const CudaContext& context) {
  const CropParams params{boxes.boxes.data,
                          boxes.mask_indices.data,
                          boxes.boxes.shape[0],
                          mask_count,
                          static_cast<int>(image_size.height),
                          static_cast<int>(image_size.width),
                          options.height,
                          options.width,
                          options.sampling_ratio,
                          options.aligned};
  return launch(&crop_kernel<Masks>, threads_for(output.size(), kThreads), context, params, masks, output.data);
}

Status check_pixels(const CropImageSize& image_size, const char* form) {
  KSEG_RETURN_IF_ERROR(check_crop_image_size(image_size));
  if (image_size.height * image_size.width <= std::numeric_limits<int32_t>::max()) return Status();
  return invalid_argument("image_size must have fewer than 2**31 pixels for ", form, ", got ", image_size.height, " x ",
                          image_size.width);
}

}  // namespace

Status crop_dense_masks_cuda(const View<const uint8_t, 3>& masks, bool packed, const CropImageSize& image_size,
                             const CropBoxes& boxes, const CropMasksOptions& options, const View<float, 3>& output,
                             const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_crop_dense(masks.shape, packed, image_size));
  KSEG_RETURN_IF_ERROR(check_crop_shapes(boxes, options, output.shape));
  return packed ? launch_crop(PackedMasks{masks.data, masks.shape[2]}, masks.shape[0], image_size, boxes, options,
                              output, context)
                : launch_crop(DenseMasks{masks.data}, masks.shape[0], image_size, boxes, options, output, context);
}

Status crop_rle_masks_cuda(const View<const int32_t, 1>& counts, const View<const int64_t, 1>& splits,
                           const CropImageSize& image_size, const CropBoxes& boxes, const CropMasksOptions& options,
                           const View<float, 3>& output, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_pixels(image_size, "run lengths"));
  KSEG_RETURN_IF_ERROR(check_crop_shapes(boxes, options, output.shape));
  const int64_t masks = splits.shape[0] - 1;
  if (masks < 0) return invalid_argument("mask_splits must run from 0 to the number of values, ", counts.shape[0]);
  uint32_t* ends = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(counts.shape[0], &ends));
  const RunMasks source{splits.data, ends, counts.shape[0]};
  KSEG_RETURN_IF_ERROR(
      launch(&scan_kernel, blocks_for(masks, kScanThreads), context, counts.data, source, masks, ends));
  return launch_crop(source, masks, image_size, boxes, options, output, context);
}

template <class T>
Status crop_polygon_masks_cuda(const View<const T, 1>& coordinates, const View<const int64_t, 1>& polygon_splits,
                               const View<const int64_t, 1>& mask_splits, const CropImageSize& image_size,
                               const CropBoxes& boxes, const CropMasksOptions& options, const View<float, 3>& output,
                               const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_pixels(image_size, "polygons"));
  KSEG_RETURN_IF_ERROR(check_crop_shapes(boxes, options, output.shape));
  const int64_t count = coordinates.shape[0], polygons = polygon_splits.shape[0] - 1;
  const int64_t masks = mask_splits.shape[0] - 1;
  if (polygons < 0) return invalid_argument("polygon_splits must run from 0 to the number of values, ", count);
  if (masks < 0) return invalid_argument("mask_splits must run from 0 to the number of values, ", polygons);
  int32_t* fine = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(count, &fine));
  KSEG_RETURN_IF_ERROR(launch(&fine_kernel<T>, threads_for(count), context, coordinates.data, count, fine));
  const PolygonColumns source{{fine, count, polygon_splits.data, polygons, mask_splits.data}};
  return launch_crop(source, masks, image_size, boxes, options, output, context);
}

#define KSEG_INSTANTIATE(T)                                                                                        \
  template KSEG_API Status crop_polygon_masks_cuda<T>(                                                             \
      const View<const T, 1>&, const View<const int64_t, 1>&, const View<const int64_t, 1>&, const CropImageSize&, \
      const CropBoxes&, const CropMasksOptions&, const View<float, 3>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
#undef KSEG_INSTANTIATE

}  // namespace kseg
