#include "ops/max_unpool2d/max_unpool2d.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "base/huge_pages.h"
#include "ops/max_unpool2d/max_unpool2d_check.h"
// Last: it switches the instruction set.
#include "base/kernel.h"

KSEG_KERNEL_BEGIN
namespace {

// About this many outputs per band of rows: what is scattered stays in the second-level cache.
constexpr int64_t kBandElements = 1 << 16;

struct Range {
  int32_t least;
  int32_t most;
};

// The extremes of each row of indices, or an error that names the first index that is outside `pixels`.
Status index_ranges(const View<const int32_t, 4>& indices, int64_t pixels, const ParallelFor& parallel_for,
                    std::vector<Range>* ranges) {
  const int64_t rows = indices.shape[0] * indices.shape[1];
  const int64_t row_size = indices.shape[2] * indices.shape[3];
  ranges->resize(rows);
  parallel_for.run(rows, row_size / 4 + 10, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int32_t* const from = indices.data + row * row_size;
      int32_t least = from[0], most = from[0];
      for (int64_t i = 0; i < row_size; ++i) {
        least = std::min(least, from[i]);
        most = std::max(most, from[i]);
      }
      (*ranges)[row] = {least, most};
    }
  });
  for (int64_t row = 0; row < rows; ++row) {
    if ((*ranges)[row].least >= 0 && (*ranges)[row].most < pixels) continue;
    const int32_t* place = indices.data + row * row_size;
    while (*place >= 0 && *place < pixels) ++place;
    return invalid_argument("indices must be in 0..H*W-1 with H*W = ", pixels, " by output_size, got ", *place);
  }
  return Status();
}

// Cuts the outputs into bands of rows and calls work(image, first pixel, pixels) for each. What is written at a place
// is decided by the one owner of its band, which looks at the indices in order: no result depends on the cut.
template <class Work>
void for_bands(const Shape<4>& output, int64_t sources, const ParallelFor& parallel_for, Work&& work) {
  const auto [batch, height, width, channels] = output;
  const int64_t band = std::clamp<int64_t>(kBandElements / (width * channels), 1, height);
  const int64_t bands = (height + band - 1) / band;
  const int64_t cost = (band * width * channels + sources / bands) * 2;
  parallel_for.run(batch * bands, cost, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = unit % bands * band;
      work(unit / bands, first * width, std::min(band, height - first) * width);
    }
  });
}

}  // namespace

template <class T>
Status max_unpool2d_kernel(const View<const T, 4>& values, const View<const int32_t, 4>& indices,
                           const View<T, 4>& output, const ParallelFor& parallel_for) {
  const int64_t rows = indices.shape[1], columns = indices.shape[2], channels = indices.shape[3];
  const int64_t pixels = output.shape[1] * output.shape[2];
  std::vector<Range> ranges;
  if (!indices.empty()) KSEG_RETURN_IF_ERROR(index_ranges(indices, pixels, parallel_for, &ranges));
  if (output.empty()) return Status();
  for_bands(output.shape, rows * columns * channels, parallel_for, [&](int64_t image, int64_t first, int64_t count) {
    T* const to = output.data + (image * pixels + first) * channels;
    std::fill_n(to, count * channels, T(0));
    if (columns == 0) return;
    for (int64_t row = image * rows; row < (image + 1) * rows; ++row) {
      const Range range = ranges[row];
      if (range.most < first || range.least >= first + count) continue;
      const bool all = range.least >= first && range.most < first + count;
      const T* value = values.data + row * columns * channels;
      const int32_t* place = indices.data + row * columns * channels;
      for (int64_t column = 0; column < columns; ++column, value += channels, place += channels) {
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t pixel = place[c] - first;
          if (all || (pixel >= 0 && pixel < count)) to[pixel * channels + c] = value[c];
        }
      }
    }
  });
  return Status();
}

namespace {

// One band of the gradient. First each place learns which value came last, then each value asks whether it is the one.
// Only places that were named are read, so that `last` needs no initial value.
template <class T, class Number>
void take_band(const T* gradient, const int32_t* indices, const Range* ranges, int64_t rows, int64_t row_size,
               int64_t channels, int64_t first, int64_t count, Number* last, T* values_gradient) {
  const auto for_values = [&](auto&& visit) {
    for (int64_t row = 0; row < rows; ++row) {
      const Range range = ranges[row];
      if (range.most < first || range.least >= first + count) continue;
      const bool all = range.least >= first && range.most < first + count;
      for (int64_t from = row * row_size; from < (row + 1) * row_size; from += channels) {
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t pixel = indices[from + c] - first;
          if (all || (pixel >= 0 && pixel < count)) visit(from + c, pixel * channels + c);
        }
      }
    }
  };
  for_values([&](int64_t from, int64_t place) { last[place] = static_cast<Number>(from); });
  for_values([&](int64_t from, int64_t place) {
    const T value = gradient[place];
    values_gradient[from] = last[place] == static_cast<Number>(from) ? value : T(0);
  });
}

template <class T, class Number>
void take(const View<const T, 4>& output_gradient, const View<const int32_t, 4>& indices, const View<T, 4>& to,
          const std::vector<Range>& ranges, const ParallelFor& parallel_for) {
  const int64_t rows = indices.shape[1], channels = indices.shape[3];
  const int64_t row_size = indices.shape[2] * channels;
  const int64_t pixels = output_gradient.shape[1] * output_gradient.shape[2];
  for_bands(output_gradient.shape, rows * row_size, parallel_for, [&](int64_t image, int64_t first, int64_t count) {
    const std::unique_ptr<Number[]> last(new Number[count * channels]);
    const int64_t source = image * rows * row_size;
    take_band(output_gradient.data + (image * pixels + first) * channels, indices.data + source,
              ranges.data() + image * rows, rows, row_size, channels, first, count, last.get(), to.data + source);
  });
}

}  // namespace

template <class T>
Status max_unpool2d_grad_kernel(const View<const T, 4>& output_gradient, const View<const int32_t, 4>& indices,
                                const View<T, 4>& values_gradient, const ParallelFor& parallel_for) {
  std::vector<Range> ranges;
  KSEG_RETURN_IF_ERROR(
      index_ranges(indices, output_gradient.shape[1] * output_gradient.shape[2], parallel_for, &ranges));
  if (indices.size() <= std::numeric_limits<uint32_t>::max()) {
    take<T, uint32_t>(output_gradient, indices, values_gradient, ranges, parallel_for);
  } else {
    take<T, uint64_t>(output_gradient, indices, values_gradient, ranges, parallel_for);
  }
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                         \
  template Status max_unpool2d_kernel<T>(const View<const T, 4>&, const View<const int32_t, 4>&, const View<T, 4>&, \
                                         const ParallelFor&);                                                       \
  template Status max_unpool2d_grad_kernel<T>(const View<const T, 4>&, const View<const int32_t, 4>&,               \
                                              const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(uint16_t)
KSEG_INSTANTIATE(uint32_t)
KSEG_INSTANTIATE(uint64_t)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status max_unpool2d_kernel(const View<const T, 4>&,
                                                                  const View<const int32_t, 4>&, const View<T, 4>&,
                                                                  const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T> Status max_unpool2d_grad_kernel(const View<const T, 4>&,
                                                                       const View<const int32_t, 4>&, const View<T, 4>&,
                                                                       const ParallelFor&))

Status check_max_unpool2d(int64_t output_height, int64_t output_width, int64_t batch, int64_t channels) {
  return check_unpooled_size(output_height, output_width, batch, channels);
}

template <class T>
Status max_unpool2d(const View<const T, 4>& values, const View<const int32_t, 4>& indices, const View<T, 4>& output,
                    const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_unpooling(values.shape, indices.shape, output.shape, "x"));
  if (output.empty() && indices.empty()) return Status();
  prefer_huge_pages(output.data, output.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(max_unpool2d_kernel<T>, values, indices, output, parallel_for);
}

template <class T>
Status max_unpool2d_grad(const View<const T, 4>& output_gradient, const View<const int32_t, 4>& indices,
                         const View<T, 4>& values_gradient, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_unpooling(values_gradient.shape, indices.shape, output_gradient.shape, "x_gradient"));
  if (values_gradient.empty()) return Status();
  prefer_huge_pages(values_gradient.data, values_gradient.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(max_unpool2d_grad_kernel<T>, output_gradient, indices, values_gradient, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                                           \
  template KSEG_API Status max_unpool2d<T>(const View<const T, 4>&, const View<const int32_t, 4>&, const View<T, 4>&, \
                                           const ParallelFor&);                                                       \
  template KSEG_API Status max_unpool2d_grad<T>(const View<const T, 4>&, const View<const int32_t, 4>&,               \
                                                const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(uint16_t)
KSEG_INSTANTIATE(uint32_t)
KSEG_INSTANTIATE(uint64_t)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
