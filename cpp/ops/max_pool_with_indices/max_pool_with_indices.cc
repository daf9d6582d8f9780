#include "ops/max_pool_with_indices/max_pool_with_indices.h"

#include <algorithm>

#include "base/huge_pages.h"
#include "ops/max_pool_with_indices/max_pool_with_indices_check.h"
// Last: it switches the instruction set.
#include "base/kernel.h"

KSEG_KERNEL_BEGIN
namespace {

// What values are compared and added in, and an integer of that size.
template <class T>
struct Computing {
  using Real = float;
  using Place = int32_t;
};
template <>
struct Computing<double> {
  using Real = double;
  using Place = int64_t;
};

template <class T>
KSEG_INLINE auto load_real(const T* from) {
  if constexpr (std::is_same<T, double>::value) {
    return load(from);
  } else {
    return load_float(from);
  }
}
template <class T, class V>
KSEG_INLINE void store_real(T* to, V value) {
  if constexpr (std::is_same<T, double>::value) {
    store(to, value);
  } else {
    store_float(to, value);
  }
}
template <class T>
KSEG_INLINE auto as_real(T value) {
  if constexpr (std::is_same<T, double>::value) {
    return value;
  } else {
    return to_float(value);
  }
}
template <class T, class Real>
KSEG_INLINE T from_real(Real value) {
  if constexpr (std::is_same<T, double>::value) {
    return value;
  } else {
    return from_float<T>(value);
  }
}
KSEG_INLINE Vec<int32_t> load_places(const int32_t* from, Vec<int32_t>) { return load(from); }
KSEG_INLINE Vec<int64_t> load_places(const int32_t* from, Vec<int64_t>) {
  Vec<int64_t> places;
  for (int lane = 0; lane < kLanes<int64_t>; ++lane) places[lane] = from[lane];
  return places;
}
KSEG_INLINE void store_places(int32_t* to, Vec<int32_t> places) { store(to, places); }
KSEG_INLINE void store_places(int32_t* to, Vec<int64_t> places) {
  for (int lane = 0; lane < kLanes<int64_t>; ++lane) to[lane] = static_cast<int32_t>(places[lane]);
}

struct Range {
  int64_t begin;
  int64_t end;
};

KSEG_INLINE Range window_range(const PoolAxis& axis, int64_t before, int64_t output, int64_t size) {
  const int64_t begin = output * axis.stride - before;
  return {std::max<int64_t>(begin, 0), std::min(begin + axis.pool, size)};
}

// The windows that cover a pixel.
KSEG_INLINE Range covering(const PoolAxis& axis, int64_t before, int64_t pixel, int64_t outputs) {
  const int64_t place = pixel + before;
  const int64_t begin = place < axis.pool ? 0 : (place - axis.pool) / axis.stride + 1;
  return {begin, std::min(place / axis.stride + 1, outputs)};
}

template <class T>
KSEG_INLINE void pool_window(const T* image, Range rows, Range columns, int64_t width, int64_t channels, T* pooled,
                             int32_t* indices) {
  using Real = typename Computing<T>::Real;
  using Place = typename Computing<T>::Place;
  constexpr int64_t kLane = kLanes<Real>;
  const T* const first = image + (rows.begin * width + columns.begin) * channels;
  int64_t c = 0;
  for (; c + kLane <= channels; c += kLane) {
    Vec<Real> best = load_real(first + c);
    Vec<Place> place = splat(static_cast<Place>(rows.begin * width + columns.begin));
    for (int64_t y = rows.begin; y < rows.end; ++y) {
      for (int64_t x = columns.begin; x < columns.end; ++x) {
        const Vec<Real> value = load_real(image + (y * width + x) * channels + c);
        const Vec<Place> wins = (value > best) | ((value != value) & (best == best));
        best = wins ? value : best;
        place = wins ? splat(static_cast<Place>(y * width + x)) : place;
      }
    }
    store_real(pooled + c, best);
    store_places(indices + c, place);
  }
  for (; c < channels; ++c) {
    Real best = as_real(first[c]);
    int64_t place = rows.begin * width + columns.begin;
    for (int64_t y = rows.begin; y < rows.end; ++y) {
      for (int64_t x = columns.begin; x < columns.end; ++x) {
        const Real value = as_real(image[(y * width + x) * channels + c]);
        const bool wins = value > best || (value != value && best == best);
        best = wins ? value : best;
        place = wins ? y * width + x : place;
      }
    }
    pooled[c] = from_real<T>(best);
    indices[c] = static_cast<int32_t>(place);
  }
}

}  // namespace

template <class T>
Status max_pool_with_indices_kernel(const View<const T, 4>& images, const PoolWindows& windows,
                                    const View<T, 4>& pooled, const View<int32_t, 4>& indices,
                                    const ParallelFor& parallel_for) {
  const auto [batch, height, width, channels] = images.shape;
  const int64_t rows = pooled.shape[1], columns = pooled.shape[2];
  const int64_t rows_before = windows.rows.before(height), columns_before = windows.columns.before(width);
  const int64_t window = std::min(windows.rows.pool, height) * std::min(windows.columns.pool, width);
  const int64_t cost = columns * (channels * std::min<int64_t>(window, 1 << 20) / 4 + 10);
  parallel_for.run(batch * rows, cost, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const T* const image = images.data + unit / rows * height * width * channels;
      const Range window_rows = window_range(windows.rows, rows_before, unit % rows, height);
      for (int64_t column = 0; column < columns; ++column) {
        const int64_t to = (unit * columns + column) * channels;
        pool_window(image, window_rows, window_range(windows.columns, columns_before, column, width), width, channels,
                    pooled.data + to, indices.data + to);
      }
    }
  });
  return Status();
}

template <class T>
Status max_pool_with_indices_grad_kernel(const View<const T, 4>& pooled_gradient, const View<const int32_t, 4>& indices,
                                         const PoolWindows& windows, const View<T, 4>& images_gradient,
                                         const ParallelFor& parallel_for) {
  using Real = typename Computing<T>::Real;
  using Place = typename Computing<T>::Place;
  constexpr int64_t kLane = kLanes<Real>;
  const auto [batch, height, width, channels] = images_gradient.shape;
  const int64_t rows = pooled_gradient.shape[1], columns = pooled_gradient.shape[2];
  const int64_t rows_before = windows.rows.before(height), columns_before = windows.columns.before(width);
  parallel_for.run(batch * height, width * (channels / 2 + 10), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t y = unit % height;
      const int64_t source = unit / height * rows * columns * channels;
      const T* const gradient = pooled_gradient.data + source;
      const int32_t* const places = indices.data + source;
      const Range over_rows = covering(windows.rows, rows_before, y, rows);
      for (int64_t x = 0; x < width; ++x) {
        const Range over_columns = covering(windows.columns, columns_before, x, columns);
        const Place here = static_cast<Place>(y * width + x);
        T* const to = images_gradient.data + (unit * width + x) * channels;
        int64_t c = 0;
        for (; c + kLane <= channels; c += kLane) {
          Vec<Real> sum = {};
          for (int64_t row = over_rows.begin; row < over_rows.end; ++row) {
            for (int64_t column = over_columns.begin; column < over_columns.end; ++column) {
              const int64_t from = (row * columns + column) * channels + c;
              const Vec<Place> is_here = load_places(places + from, Vec<Place>{}) == splat(here);
              sum += is_here ? load_real(gradient + from) : Vec<Real>{};
            }
          }
          store_real(to + c, sum);
        }
        for (; c < channels; ++c) {
          Real sum = 0;
          for (int64_t row = over_rows.begin; row < over_rows.end; ++row) {
            for (int64_t column = over_columns.begin; column < over_columns.end; ++column) {
              const int64_t from = (row * columns + column) * channels + c;
              if (places[from] == here) sum += as_real(gradient[from]);
            }
          }
          to[c] = from_real<T>(sum);
        }
      }
    }
  });
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                       \
  template Status max_pool_with_indices_kernel<T>(const View<const T, 4>&, const PoolWindows&, const View<T, 4>&, \
                                                  const View<int32_t, 4>&, const ParallelFor&);                   \
  template Status max_pool_with_indices_grad_kernel<T>(const View<const T, 4>&, const View<const int32_t, 4>&,    \
                                                       const PoolWindows&, const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status max_pool_with_indices_kernel(const View<const T, 4>&, const PoolWindows&,
                                                                           const View<T, 4>&, const View<int32_t, 4>&,
                                                                           const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T>
                    Status max_pool_with_indices_grad_kernel(const View<const T, 4>&, const View<const int32_t, 4>&,
                                                             const PoolWindows&, const View<T, 4>&, const ParallelFor&))

Status check_pool(int64_t pool_rows, int64_t pool_columns, int64_t stride_rows, int64_t stride_columns) {
  return check_pool_sizes(pool_rows, pool_columns, stride_rows, stride_columns);
}

Status check_pool_image(const Shape<4>& images, const char* argument) { return check_pool_pixels(images, argument); }

template <class T>
Status max_pool_with_indices(const View<const T, 4>& images, const PoolWindows& windows, const View<T, 4>& pooled,
                             const View<int32_t, 4>& indices, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_pooled_shapes(images.shape, windows, pooled.shape, indices.shape));
  if (pooled.empty()) return Status();
  prefer_huge_pages(pooled.data, pooled.size() * static_cast<int64_t>(sizeof(T)));
  prefer_huge_pages(indices.data, indices.size() * static_cast<int64_t>(sizeof(int32_t)));
  KSEG_RETURN_DISPATCH(max_pool_with_indices_kernel<T>, images, windows, pooled, indices, parallel_for);
}

template <class T>
Status max_pool_with_indices_grad(const View<const T, 4>& pooled_gradient, const View<const int32_t, 4>& indices,
                                  const PoolWindows& windows, const View<T, 4>& images_gradient,
                                  const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_pooled_shapes(images_gradient.shape, windows, pooled_gradient.shape, indices.shape));
  if (images_gradient.empty()) return Status();
  prefer_huge_pages(images_gradient.data, images_gradient.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(max_pool_with_indices_grad_kernel<T>, pooled_gradient, indices, windows, images_gradient,
                       parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                                         \
  template KSEG_API Status max_pool_with_indices<T>(const View<const T, 4>&, const PoolWindows&, const View<T, 4>&, \
                                                    const View<int32_t, 4>&, const ParallelFor&);                   \
  template KSEG_API Status max_pool_with_indices_grad<T>(const View<const T, 4>&, const View<const int32_t, 4>&,    \
                                                         const PoolWindows&, const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
