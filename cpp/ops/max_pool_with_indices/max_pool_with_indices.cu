// A thread takes a vector of channels of one window, or, for the gradient, of one pixel or one cell of pixels; the
// threads of a warp lie along the channels and then along the columns, so that every access is of whole sectors.
//
// Reckoning for 8 x 360 x 480 x 64 floats, windows of 2 x 2: forward reads 354 MB and writes 88 MB of values and 88 MB
// of indices; the gradient the other way round: 530 MB, 0.11 ms at 4.8 TB/s, 0.14 ms at 80 % of it. A thread of the
// forward pass has its four loads of 16 bytes under way at once. Where windows do not overlap, one thread reads the
// gradient and indices of a window once and writes all pixels of its cell; else each pixel reads the windows over it,
// which but for the first time come from L1 and L2.
#include "ops/max_pool_with_indices/max_pool_with_indices_cuda.h"

#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/max_pool_with_indices/max_pool_with_indices_check.h"

namespace kseg {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostCellSide = 4;  // larger cells would keep one thread busy for too long

struct Axis {
  int64_t pool;
  int64_t stride;
  int64_t before;
  int64_t size;
  int64_t outputs;

  Axis(const PoolAxis& axis, int64_t image_size)
      : pool(axis.pool),
        stride(axis.stride),
        before(axis.before(image_size)),
        size(image_size),
        outputs(axis.outputs(image_size)) {}

  // Window `output` covers [begin(output), end(output)).
  KSEG_DEVICE int64_t begin(int64_t output) const { return max(output * stride - before, int64_t{0}); }
  KSEG_DEVICE int64_t end(int64_t output) const { return min(output * stride - before + pool, size); }
  // The windows over a pixel.
  KSEG_DEVICE int64_t first_window(int64_t pixel) const {
    const int64_t place = pixel + before;
    return place < pool ? 0 : (place - pool) / stride + 1;
  }
  KSEG_DEVICE int64_t last_window(int64_t pixel) const { return min((pixel + before) / stride + 1, outputs); }
  // Pixels [i * stride - before, (i + 1) * stride - before) are cell i: where windows do not overlap, window i lies in
  // it. There may be a cell more than windows.
  int64_t cells() const { return ceil_div(size + before, stride); }
};

struct Geometry {
  Axis rows;
  Axis columns;
  int64_t batch;
  int64_t channels;
};

struct Item {
  int64_t channel;
  int64_t column;
  int64_t row;
  int64_t image;

  KSEG_DEVICE Item(int64_t index, int64_t vectors, int64_t columns, int64_t rows, int vector) {
    channel = index % vectors * vector;
    index /= vectors;
    column = index % columns;
    index /= columns;
    row = index % rows;
    image = index / rows;
  }
};

template <int count>
KSEG_DEVICE void store_integers(int32_t* to, const int32_t (&values)[count]) {
  if constexpr (count > 4) {
#pragma unroll
    for (int i = 0; i < count; i += 4) {
      *reinterpret_cast<int4*>(to + i) = make_int4(values[i], values[i + 1], values[i + 2], values[i + 3]);
    }
  } else {
    check_aligned<count>(to);
    Packed<int32_t, count> packed;
#pragma unroll
    for (int i = 0; i < count; ++i) packed.element[i] = values[i];
    *reinterpret_cast<Packed<int32_t, count>*>(to) = packed;
  }
}
template <int count>
KSEG_DEVICE void load_integers(const int32_t* from, int32_t (&values)[count]) {
  constexpr int kPart = count > 4 ? 4 : count;
  check_aligned<kPart>(from);
#pragma unroll
  for (int i = 0; i < count; i += kPart) {
    const auto packed = *reinterpret_cast<const Packed<int32_t, kPart>*>(from + i);
#pragma unroll
    for (int j = 0; j < kPart; ++j) values[i + j] = packed.element[j];
  }
}

template <int kVector>
struct Best {
  float value[kVector];
  int32_t place[kVector];

  KSEG_DEVICE void compare(const float (&values)[kVector], int32_t at) {
#pragma unroll
    for (int v = 0; v < kVector; ++v) {
      const bool wins = values[v] > value[v] || (values[v] != values[v] && value[v] == value[v]);
      value[v] = wins ? values[v] : value[v];
      place[v] = wins ? at : place[v];
    }
  }
};

// kSide: of the windows, or 0 for any.
template <class T, int kVector, int kSide>
__global__ void __launch_bounds__(kThreads) pool_kernel(const T* images, const __grid_constant__ Geometry geometry,
                                                        int64_t total, T* pooled, int32_t* indices) {
  const Axis& rows = geometry.rows;
  const Axis& columns = geometry.columns;
  const int64_t channels = geometry.channels, row_size = columns.size * channels;
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    const Item item(index, channels / kVector, columns.outputs, rows.outputs, kVector);
    const int64_t top = rows.begin(item.row), bottom = rows.end(item.row);
    const int64_t left = columns.begin(item.column), right = columns.end(item.column);
    const T* const image = images + item.image * rows.size * row_size + item.channel;
    const T* const first = image + top * row_size + left * channels;
    const auto place = [&](int64_t y, int64_t x) { return static_cast<int32_t>(y * columns.size + x); };
    Best<kVector> best;
#pragma unroll
    for (int v = 0; v < kVector; ++v) best.place[v] = place(top, left);
    if (kSide > 0 && bottom - top == kSide && right - left == kSide) {
      constexpr int kRow = kSide > 0 ? kSide : 1, kPixels = kRow * kRow;
      Packed<T, kVector> pixel[kPixels];
      check_aligned<kVector>(first);
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        pixel[i] = *reinterpret_cast<const Packed<T, kVector>*>(first + i / kRow * row_size + i % kRow * channels);
      }
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        float value[kVector];
#pragma unroll
        for (int v = 0; v < kVector; ++v) value[v] = widen(pixel[i].element[v]);
        if (i == 0) {
#pragma unroll
          for (int v = 0; v < kVector; ++v) best.value[v] = value[v];
        } else {
          best.compare(value, place(top + i / kRow, left + i % kRow));
        }
      }
    } else {
      load_floats(first, best.value);
      for (int64_t y = top; y < bottom; ++y) {
#pragma unroll 4
        for (int64_t x = left; x < right; ++x) {
          float value[kVector];
          load_floats(image + y * row_size + x * channels, value);
          best.compare(value, place(y, x));
        }
      }
    }
    store_floats(pooled + index * kVector, best.value);
    store_integers(indices + index * kVector, best.place);
  }
}

// A thread per pixel: any windows.
template <class T, int kVector>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const T* pooled_gradient, const int32_t* indices, const __grid_constant__ Geometry geometry,
                  int64_t total, T* images_gradient) {
  const Axis& rows = geometry.rows;
  const Axis& columns = geometry.columns;
  const int64_t channels = geometry.channels;
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    const Item item(index, channels / kVector, columns.size, rows.size, kVector);
    const int64_t source = item.image * rows.outputs * columns.outputs * channels + item.channel;
    const int32_t here = static_cast<int32_t>(item.row * columns.size + item.column);
    const int64_t last_row = rows.last_window(item.row), last_column = columns.last_window(item.column);
    const int64_t first_column = columns.first_window(item.column);
    float sum[kVector] = {};
    for (int64_t row = rows.first_window(item.row); row < last_row; ++row) {
#pragma unroll 2
      for (int64_t column = first_column; column < last_column; ++column) {
        const int64_t from = source + (row * columns.outputs + column) * channels;
        int32_t place[kVector];
        float gradient[kVector];
        load_integers(indices + from, place);
        load_floats(pooled_gradient + from, gradient);
#pragma unroll
        for (int v = 0; v < kVector; ++v) sum[v] += place[v] == here ? gradient[v] : 0.0f;
      }
    }
    store_floats(images_gradient + index * kVector, sum);
  }
}

// A thread per cell: windows that do not overlap.
template <class T, int kVector>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const T* pooled_gradient, const int32_t* indices, const __grid_constant__ Geometry geometry,
                   int64_t row_cells, int64_t column_cells, int64_t total, T* images_gradient) {
  const Axis& rows = geometry.rows;
  const Axis& columns = geometry.columns;
  const int64_t channels = geometry.channels;
  for (int64_t index = global_thread(); index < total; index += global_threads()) {
    const Item item(index, channels / kVector, column_cells, row_cells, kVector);
    int32_t place[kVector];
    float gradient[kVector] = {};
#pragma unroll
    for (int v = 0; v < kVector; ++v) place[v] = -1;
    int64_t bottom = 0, right = 0;  // of the window
    if (item.row < rows.outputs && item.column < columns.outputs) {
      const int64_t window = (item.image * rows.outputs + item.row) * columns.outputs + item.column;
      load_integers(indices + window * channels + item.channel, place);
      load_floats(pooled_gradient + window * channels + item.channel, gradient);
      bottom = rows.end(item.row);
      right = columns.end(item.column);
    }
    const int64_t last_row = min((item.row + 1) * rows.stride - rows.before, rows.size);
    const int64_t last_column = min((item.column + 1) * columns.stride - columns.before, columns.size);
    for (int64_t y = rows.begin(item.row); y < last_row; ++y) {
#pragma unroll 2
      for (int64_t x = columns.begin(item.column); x < last_column; ++x) {
        const bool covered = y < bottom && x < right;
        const int32_t here = static_cast<int32_t>(y * columns.size + x);
        float value[kVector];
#pragma unroll
        for (int v = 0; v < kVector; ++v) value[v] = 0.0f + (covered && place[v] == here ? gradient[v] : 0.0f);
        store_floats(images_gradient + ((item.image * rows.size + y) * columns.size + x) * channels + item.channel,
                     value);
      }
    }
  }
}

Geometry make_geometry(const Shape<4>& images, const PoolWindows& windows) {
  return {Axis(windows.rows, images[1]), Axis(windows.columns, images[2]), images[0], images[3]};
}

template <class T, int kVector>
Status launch_pool(const View<const T, 4>& images, const Geometry& geometry, const View<T, 4>& pooled,
                   const View<int32_t, 4>& indices, const CudaContext& context) {
  const int64_t total = pooled.size() / kVector;
  const int64_t side = geometry.rows.pool == geometry.columns.pool ? geometry.rows.pool : 0;
  const auto kernel = side == 2   ? &pool_kernel<T, kVector, 2>
                      : side == 3 ? &pool_kernel<T, kVector, 3>
                                  : &pool_kernel<T, kVector, 0>;
  return launch(kernel, threads_for(total, kThreads), context, images.data, geometry, total, pooled.data, indices.data);
}

template <class T, int kVector>
Status launch_gradient(const View<const T, 4>& pooled_gradient, const View<const int32_t, 4>& indices,
                       const Geometry& geometry, const View<T, 4>& images_gradient, const CudaContext& context) {
  const auto apart = [](const Axis& axis) { return axis.pool <= axis.stride && axis.stride <= kMostCellSide; };
  if (apart(geometry.rows) && apart(geometry.columns)) {
    const int64_t row_cells = geometry.rows.cells(), column_cells = geometry.columns.cells();
    const int64_t total = geometry.batch * row_cells * column_cells * (geometry.channels / kVector);
    return launch(&scatter_kernel<T, kVector>, threads_for(total, kThreads), context, pooled_gradient.data,
                  indices.data, geometry, row_cells, column_cells, total, images_gradient.data);
  }
  const int64_t total = images_gradient.size() / kVector;
  return launch(&gather_kernel<T, kVector>, threads_for(total, kThreads), context, pooled_gradient.data, indices.data,
                geometry, total, images_gradient.data);
}

bool integers_are_aligned(const int32_t* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

}  // namespace

template <class T>
Status max_pool_with_indices_cuda(const View<const T, 4>& images, const PoolWindows& windows, const View<T, 4>& pooled,
                                  const View<int32_t, 4>& indices, const CudaContext& context) {
  constexpr int kVector = kVectorElements<T>;
  KSEG_RETURN_IF_ERROR(check_pooled_shapes(images.shape, windows, pooled.shape, indices.shape));
  if (pooled.empty()) return Status();
  const Geometry geometry = make_geometry(images.shape, windows);
  const bool vectors = rows_are_aligned(images.data, geometry.channels, kVector) &&
                       rows_are_aligned(pooled.data, geometry.channels, kVector) && integers_are_aligned(indices.data);
  return vectors ? launch_pool<T, kVector>(images, geometry, pooled, indices, context)
                 : launch_pool<T, 1>(images, geometry, pooled, indices, context);
}

template <class T>
Status max_pool_with_indices_grad_cuda(const View<const T, 4>& pooled_gradient, const View<const int32_t, 4>& indices,
                                       const PoolWindows& windows, const View<T, 4>& images_gradient,
                                       const CudaContext& context) {
  constexpr int kVector = kVectorElements<T>;
  KSEG_RETURN_IF_ERROR(check_pooled_shapes(images_gradient.shape, windows, pooled_gradient.shape, indices.shape));
  if (images_gradient.empty()) return Status();
  const Geometry geometry = make_geometry(images_gradient.shape, windows);
  const bool vectors = rows_are_aligned(images_gradient.data, geometry.channels, kVector) &&
                       rows_are_aligned(pooled_gradient.data, geometry.channels, kVector) &&
                       integers_are_aligned(indices.data);
  return vectors ? launch_gradient<T, kVector>(pooled_gradient, indices, geometry, images_gradient, context)
                 : launch_gradient<T, 1>(pooled_gradient, indices, geometry, images_gradient, context);
}

#define KSEG_INSTANTIATE(T)                                                                                           \
  template KSEG_API Status max_pool_with_indices_cuda<T>(                                                             \
      const View<const T, 4>&, const PoolWindows&, const View<T, 4>&, const View<int32_t, 4>&, const CudaContext&);   \
  template KSEG_API Status max_pool_with_indices_grad_cuda<T>(const View<const T, 4>&, const View<const int32_t, 4>&, \
                                                              const PoolWindows&, const View<T, 4>&,                  \
                                                              const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
