// Indices come from max pooling, nearly always from windows that do not overlap. So the output is cut into one cell of
// pixels per value, and a first kernel has a thread per cell (and vector of channels) write or read the whole of it, on
// the assumption that the value's index lies there: then no two values meet. It notes each image where an index does
// not, and by how far its rows reach beyond their cells.
//
// For such images, a second kernel does it all over again: a block owns a band of pixels for some channels, finds the
// last value of each of its places with integer maxima in shared memory, and writes the band, or the gradients of the
// values that point to it. It looks through the rows of values whose indices reach its band, so that overlapping
// windows cost the indices two or three times, and indices in random order a pass over all of them per band: right,
// and slow. Blocks of other images leave at once.
//
// Reckoning for 8 x 180 x 240 x 64 floats to 360 x 480: 88 MB of values, 88 MB of indices and 354 MB of output, 0.11 ms
// at 4.8 TB/s, 0.14 ms at 80 % of it, and some 3 us for the second kernel, which has nothing to do. Scratch: 8 bytes
// per row of values.
#include "ops/max_unpool2d/max_unpool2d_cuda.h"

#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/max_unpool2d/max_unpool2d_check.h"

namespace kseg {
namespace {

constexpr int kThreads = 256;
constexpr int kBandPlaces = 8192;  // of a block of the second kernel: 32 KiB of shared memory
constexpr int kBandChannels = 32;  // at most
constexpr int64_t kBandBlocks = 6;  // of the second kernel, per multiprocessor
constexpr int64_t kMostCellPixels = 64;  // with more, assuming would cost too much: values are looked for

// The pixels [i * cell, (i + 1) * cell) of an axis belong to value i, those behind the last one to the last.
struct Axis {
  int64_t values;
  int64_t size;
  int64_t cell;

  Axis(int64_t value_count, int64_t output_size)
      : values(value_count),
        size(output_size),
        cell(value_count > 0 ? std::max<int64_t>((2 * output_size + value_count) / (2 * value_count), 1) : 1) {}

  KSEG_DEVICE int64_t begin(int64_t value) const { return min(value * cell, size); }
  KSEG_DEVICE int64_t end(int64_t value) const { return value + 1 == values ? size : min((value + 1) * cell, size); }
  int64_t longest() const { return std::max(cell, size - (values - 1) * cell); }
};

struct Geometry {
  Axis rows;
  Axis columns;
  int64_t batch;
  int64_t channels;
  bool assume;  // that indices lie in their cells
  int band_channels;
  int band_pixels;

  KSEG_DEVICE int64_t value_pixels() const { return rows.values * columns.values; }
  KSEG_DEVICE int64_t pixels() const { return rows.size * columns.size; }
};

// What indices outside of their cells do, kept as numbers that begin at their greatest: memory of 0xff bytes.
struct Strays {
  unsigned* in_image;  // [batch] 0: there are some
  unsigned* least;  // [batch, rows of values] the least pixel that they name
  unsigned* most;  // likewise the complement of the greatest
};

template <class T, int count>
KSEG_DEVICE Packed<T, count> load_packed(const T* from) {
  check_aligned<count>(from);
  return *reinterpret_cast<const Packed<T, count>*>(from);
}
template <class T, int count>
KSEG_DEVICE void store_packed(T* to, const Packed<T, count>& values) {
  check_aligned<count>(to);
  *reinterpret_cast<Packed<T, count>*>(to) = values;
}
template <int count>
KSEG_DEVICE void load_places(const int32_t* from, int32_t (&places)[count]) {
  constexpr int kPart = count > 4 ? 4 : count;
#pragma unroll
  for (int i = 0; i < count; i += kPart) {
    const auto part = load_packed<int32_t, kPart>(from + i);
#pragma unroll
    for (int j = 0; j < kPart; ++j) places[i + j] = part.element[j];
  }
}

// A cell and a vector of channels.
struct Item {
  int64_t channel;
  int64_t column;
  int64_t row;
  int64_t image;

  KSEG_DEVICE Item(int64_t index, const Geometry& geometry, int vector) {
    const int64_t vectors = geometry.channels / vector;
    channel = index % vectors * vector;
    index /= vectors;
    column = index % geometry.columns.values;
    index /= geometry.columns.values;
    row = index % geometry.rows.values;
    image = index / geometry.rows.values;
  }
};

// Notes a place outside of the cell whose first pixel is `first`; true if it is inside.
KSEG_DEVICE bool in_cell(int32_t place, const Geometry& geometry, const Item& item, int first, int cell_rows,
                         int cell_columns, const Strays& strays) {
  if (place < 0 || place >= geometry.pixels()) return false;
  bool inside = false;
  int offset = place - first;
  for (int y = 0; geometry.assume && y < cell_rows; ++y) {
    inside = inside || (offset >= 0 && offset < cell_columns);
    offset -= static_cast<int>(geometry.columns.size);
  }
  if (inside) return true;
  const int64_t row = item.image * geometry.rows.values + item.row;
  strays.in_image[item.image] = 0;
  atomicMin(strays.least + row, static_cast<unsigned>(place));
  atomicMin(strays.most + row, ~static_cast<unsigned>(place));
  return false;
}

// Writes the cells of an output (kForward), or the gradient of values from an output's.
template <class T, int kVector, bool kForward>
__global__ void __launch_bounds__(kThreads)
    cell_kernel(const T* values, const T* output_gradient, const int32_t* indices,
                const __grid_constant__ Geometry geometry, int64_t total, const Strays strays, T* to) {
  const Axis& rows = geometry.rows;
  const Axis& columns = geometry.columns;
  const int64_t channels = geometry.channels;
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    const Item item(index, geometry, kVector);
    // An image has fewer than 2**31 pixels.
    const int width = static_cast<int>(columns.size);
    const int top = static_cast<int>(rows.begin(item.row)), left = static_cast<int>(columns.begin(item.column));
    const int cell_rows = static_cast<int>(rows.end(item.row)) - top;
    const int cell_columns = static_cast<int>(columns.end(item.column)) - left;
    const int first = top * width + left;
    int32_t place[kVector];
    load_places(indices + index * kVector, place);
    // Places from the cell's first pixel on; outside of it what no pixel has.
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      place[v] = in_cell(place[v], geometry, item, first, cell_rows, cell_columns, strays) ? place[v] - first : -1;
    }
    const int64_t image = (item.image * geometry.pixels() + first) * channels + item.channel;
    Packed<T, kVector> value{};
    if (!geometry.assume) {
      // The second kernel will do it.
    } else if constexpr (kForward) {
      value = load_packed<T, kVector>(values + index * kVector);
      for (int y = 0; y < cell_rows; ++y) {
#pragma unroll 2
        for (int x = 0; x < cell_columns; ++x) {
          const int pixel = y * width + x;
          Packed<T, kVector> here;
#pragma unroll
          for (int v = 0; v < kVector; ++v) here.element[v] = place[v] == pixel ? value.element[v] : T(0);
          store_packed(to + image + pixel * channels, here);
        }
      }
    } else if (cell_rows == 2 && cell_columns == 2) {
      Packed<T, kVector> from[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        from[i] = load_packed<T, kVector>(output_gradient + image + (i / 2 * width + i % 2) * channels);
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int v = 0; v < kVector; ++v) {
          if (place[v] == i / 2 * width + i % 2) value.element[v] = from[i].element[v];
        }
      }
    } else {
#pragma unroll
      for (int v = 0; v < kVector; ++v) {
        if (place[v] >= 0) value.element[v] = output_gradient[image + place[v] * channels + v];
      }
    }
    if (!kForward) store_packed(to + index * kVector, value);
  }
}

struct Band {
  int64_t image;
  int64_t first_pixel;
  int64_t pixels;
  int64_t first_channel;
  int channels;
};

// Calls visit(number of the value in its image, channel of the band, place in the band) for the values that point to a
// band; every thread of the block calls it.
template <class Visit>
KSEG_DEVICE void visit_values(const int32_t* indices, const Geometry& geometry, const Strays& strays, const Band& band,
                              const Visit& visit) {
  const Axis& rows = geometry.rows;
  const Axis& columns = geometry.columns;
  const int64_t last_pixel = band.first_pixel + band.pixels;
  const int row_items = static_cast<int>(min(columns.values * band.channels, int64_t{1} << 30));
  for (int64_t row = warp_index(); row < rows.values; row += blockDim.x / kWarpSize) {
    const int64_t stray_row = band.image * rows.values + row;
    int64_t least = strays.least[stray_row], most = static_cast<int64_t>(~strays.most[stray_row]);
    if (geometry.assume) {
      least = min(least, rows.begin(row) * columns.size);
      most = max(most, rows.end(row) * columns.size - 1);
    }
    if (least >= last_pixel || most < band.first_pixel) continue;
    const int64_t first_value = row * columns.values;
    const int32_t* const from = indices + (band.image * geometry.value_pixels() + first_value) * geometry.channels;
    for (int64_t item = lane_index(); item < columns.values * band.channels; item += kWarpSize) {
      const int64_t column = row_items < (1 << 30) ? static_cast<int>(item) / band.channels : item / band.channels;
      const int channel = static_cast<int>(item - column * band.channels);
      const int64_t pixel = from[column * geometry.channels + band.first_channel + channel] - band.first_pixel;
      if (pixel < 0 || pixel >= band.pixels) continue;
      visit(first_value + column, channel, static_cast<int>(pixel) * band.channels + channel);
    }
  }
}

template <class T, bool kForward>
KSEG_COLD __global__ void __launch_bounds__(kThreads)
    band_kernel(const T* values, const T* output_gradient, const int32_t* indices,
                const __grid_constant__ Geometry geometry, const Strays strays, T* to) {
  KSEG_SHARED(last, unsigned[kBandPlaces]);  // the number of the last value that points to a place, and 1; 0: none
  const int64_t groups = ceil_div(geometry.channels, geometry.band_channels);
  const int64_t bands = ceil_div(geometry.pixels(), geometry.band_pixels);
  for (int64_t image = 0; image < geometry.batch; ++image) {
    if (strays.in_image[image] != 0) continue;
    for (int64_t unit = blockIdx.x; unit < groups * bands; unit += gridDim.x) {
      Band band;
      band.image = image;
      band.first_pixel = unit / groups * geometry.band_pixels;
      band.pixels = min(static_cast<int64_t>(geometry.band_pixels), geometry.pixels() - band.first_pixel);
      band.first_channel = unit % groups * geometry.band_channels;
      band.channels =
          static_cast<int>(min(static_cast<int64_t>(geometry.band_channels), geometry.channels - band.first_channel));
      const int places = static_cast<int>(band.pixels) * band.channels;
      for (int place = threadIdx.x; place < places; place += kThreads) last[place] = 0;
      __syncthreads();
      visit_values(indices, geometry, strays, band,
                   [&](int64_t value, int, int place) { atomicMax(&last[place], static_cast<unsigned>(value) + 1); });
      __syncthreads();
      const int64_t first_value = image * geometry.value_pixels();
      const int64_t first_pixel = image * geometry.pixels() + band.first_pixel;
      if constexpr (kForward) {
        for (int place = threadIdx.x; place < places; place += kThreads) {
          const int64_t channel = band.first_channel + place % band.channels;
          const unsigned value = last[place];
          to[(first_pixel + place / band.channels) * geometry.channels + channel] =
              value == 0 ? T(0) : values[(first_value + value - 1) * geometry.channels + channel];
        }
      } else {
        visit_values(indices, geometry, strays, band, [&](int64_t value, int channel, int place) {
          const bool counts = last[place] == static_cast<unsigned>(value) + 1;
          const int64_t from = (first_pixel + place / band.channels) * geometry.channels + band.first_channel + channel;
          to[(first_value + value) * geometry.channels + band.first_channel + channel] =
              counts ? output_gradient[from] : T(0);
        });
      }
      __syncthreads();  // all have read `last`
    }
  }
}

Status make_geometry(const Shape<4>& values, const Shape<4>& output, Geometry* geometry) {
  constexpr int64_t kMostValues = 0xfffffffe;
  if (values[1] > kMostValues || values[2] > kMostValues || values[1] * values[2] > kMostValues) {
    return invalid_argument("indices must have at most 2**32 - 2 pixels per image on a GPU, got ",
                            to_string<4>(values));
  }
  const bool assume = geometry->rows.longest() <= kMostCellPixels && geometry->columns.longest() <= kMostCellPixels &&
                      geometry->rows.longest() * geometry->columns.longest() <= kMostCellPixels;
  geometry->assume = assume;
  geometry->band_channels = static_cast<int>(std::min<int64_t>(output[3], kBandChannels));
  geometry->band_pixels = kBandPlaces / geometry->band_channels;
  return Status();
}

template <class T, int kVector, bool kForward>
Status launch_kernels(const T* values, const T* output_gradient, const int32_t* indices, const Geometry& geometry,
                      T* to, const CudaContext& context) {
  const int64_t rows = geometry.batch * geometry.rows.values;
  unsigned* memory = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(2 * rows + geometry.batch, &memory));
  KSEG_RETURN_IF_ERROR(fill_bytes(memory, 0xff, 2 * rows + geometry.batch, context));
  const Strays strays{memory + 2 * rows, memory, memory + rows};
  if (!geometry.assume) KSEG_RETURN_IF_ERROR(fill_bytes(strays.in_image, 0, geometry.batch, context));
  const int64_t total = rows * geometry.columns.values * (geometry.channels / kVector);
  KSEG_RETURN_IF_ERROR(launch(&cell_kernel<T, kVector, kForward>, threads_for(total, kThreads), context, values,
                              output_gradient, indices, geometry, total, strays, to));
  const int64_t bands = ceil_div(geometry.rows.size * geometry.columns.size, geometry.band_pixels) *
                        ceil_div(geometry.channels, geometry.band_channels);
  return launch(&band_kernel<T, kForward>, blocks_for(std::min(kBandBlocks * multiprocessors(), bands), kThreads),
                context, values, output_gradient, indices, geometry, strays, to);
}

template <class T, bool kForward>
Status run(const T* values, const T* output_gradient, const View<const int32_t, 4>& indices, const Shape<4>& output,
           T* to, const CudaContext& context) {
  constexpr int kVector = kVectorElements<T>;
  const Shape<4>& shape = indices.shape;
  Geometry geometry{Axis(shape[1], output[1]), Axis(shape[2], output[2]), shape[0], shape[3], false, 1, 1};
  KSEG_RETURN_IF_ERROR(make_geometry(shape, output, &geometry));
  const bool vectors = rows_are_aligned(kForward ? values : output_gradient, shape[3], kVector) &&
                       rows_are_aligned(to, shape[3], kVector) && rows_are_aligned(indices.data, shape[3], 4);
  return vectors ? launch_kernels<T, kVector, kForward>(values, output_gradient, indices.data, geometry, to, context)
                 : launch_kernels<T, 1, kForward>(values, output_gradient, indices.data, geometry, to, context);
}

}  // namespace

template <class T>
Status max_unpool2d_cuda(const View<const T, 4>& values, const View<const int32_t, 4>& indices,
                         const View<T, 4>& output, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_unpooling(values.shape, indices.shape, output.shape, "x"));
  if (output.empty()) return Status();
  if (indices.empty()) return fill_bytes(output.data, 0, output.size(), context);
  return run<T, true>(values.data, nullptr, indices, output.shape, output.data, context);
}

template <class T>
Status max_unpool2d_grad_cuda(const View<const T, 4>& output_gradient, const View<const int32_t, 4>& indices,
                              const View<T, 4>& values_gradient, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_unpooling(values_gradient.shape, indices.shape, output_gradient.shape, "x_gradient"));
  if (values_gradient.empty()) return Status();
  if (output_gradient.empty()) return fill_bytes(values_gradient.data, 0, values_gradient.size(), context);
  return run<T, false>(nullptr, output_gradient.data, indices, output_gradient.shape, values_gradient.data, context);
}

#define KSEG_INSTANTIATE(T)                                                                                  \
  template KSEG_API Status max_unpool2d_cuda<T>(const View<const T, 4>&, const View<const int32_t, 4>&,      \
                                                const View<T, 4>&, const CudaContext&);                      \
  template KSEG_API Status max_unpool2d_grad_cuda<T>(const View<const T, 4>&, const View<const int32_t, 4>&, \
                                                     const View<T, 4>&, const CudaContext&);
KSEG_INSTANTIATE(uint16_t)
KSEG_INSTANTIATE(uint32_t)
#undef KSEG_INSTANTIATE

}  // namespace kseg
