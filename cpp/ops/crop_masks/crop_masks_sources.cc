#include "ops/crop_masks/crop_masks_parts.h"

// The forms in which masks come, checked and read. Scalar code: compiled once.

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>

#include "ops/crop_masks/crop_masks_check.h"

namespace kseg {
namespace {

// Row splits of a ragged tensor of `values` values.
Status check_splits(const View<const int64_t, 1>& splits, int64_t values, const char* name) {
  const int64_t rows = splits.shape[0] - 1;
  if (rows < 0 || splits.data[0] != 0 || splits.data[rows] != values) {
    return invalid_argument(name, " must run from 0 to the number of values, ", values);
  }
  for (int64_t i = 0; i < rows; ++i) {
    if (splits.data[i] > splits.data[i + 1]) {
      return invalid_argument(name, " must not fall, got ", splits.data[i + 1], " after ", splits.data[i]);
    }
  }
  return Status();
}

// Runs `make(mask, &message)` for each mask. The first one with a message becomes the error.
template <class Make>
Status for_each_mask(int64_t count, int64_t cost, const char* name, const ParallelFor& parallel_for, const Make& make) {
  std::mutex mutex;
  int64_t first_wrong = count;
  std::string problem;
  parallel_for.run(count, cost, [&](int64_t begin, int64_t end) {
    for (int64_t mask = begin; mask < end; ++mask) {
      const Status status = make(mask);
      if (status.ok()) continue;
      const std::lock_guard<std::mutex> lock(mutex);
      if (mask < first_wrong) {
        first_wrong = mask;
        problem = status.message();
      }
      return;
    }
  });
  if (problem.empty()) return Status();
  return invalid_argument("masks[", first_wrong, "] ", name, problem);
}

void clear(const MaskWindow& window, WindowBits* bits) {
  bits->row_bytes = (window.width + 7) / 8;
  bits->rows.assign(static_cast<size_t>(window.height * bits->row_bytes + 8), 0);
}

class DenseSource final : public CropSource {
 public:
  const uint8_t* data = nullptr;

  void read(int64_t mask, const MaskWindow& window, WindowBits* bits) const override {
    clear(window, bits);
    for (int64_t y = 0; y < window.height; ++y) {
      const uint8_t* const from = data + (mask * height + window.top + y) * width + window.left;
      uint8_t* const to = bits->rows.data() + y * bits->row_bytes;
      int64_t x = 0;
      for (; x + 8 <= window.width; x += 8) {
        uint64_t pixels;
        std::memcpy(&pixels, from + x, sizeof pixels);
        if (pixels != 0) to[x / 8] = nonzero_bytes(pixels);
      }
      for (; x < window.width; ++x) to[x / 8] = static_cast<uint8_t>(to[x / 8] | (from[x] != 0) << (x % 8));
    }
  }
};

class PackedSource final : public CropSource {
 public:
  const uint8_t* data = nullptr;

  void read(int64_t mask, const MaskWindow& window, WindowBits* bits) const override {
    clear(window, bits);
    const int64_t stride = (width + 7) / 8;
    for (int64_t y = 0; y < window.height; ++y) {
      std::memcpy(bits->rows.data() + y * bits->row_bytes,
                  data + (mask * height + window.top + y) * stride + window.left / 8,
                  static_cast<size_t>(bits->row_bytes));
    }
  }
};

// Runs that somebody else holds, or those of polygons.
class RunSource final : public CropSource {
 public:
  struct Runs {
    const uint32_t* counts;
    int64_t length;
  };
  std::vector<Runs> runs;
  std::vector<std::vector<uint32_t>> made;

  void read(int64_t mask, const MaskWindow& window, WindowBits* bits) const override {
    clear(window, bits);
    runs_to_columns(runs[mask].counts, runs[mask].length, height, window, &bits->columns);
    columns_to_packed(bits->columns, bits->row_bytes, bits->rows.data());
  }
};

Status set_size(const CropImageSize& size, RunSource* source) {
  KSEG_RETURN_IF_ERROR(check_crop_image_size(size));
  const Status status = check_rle_size(size.height, size.width);
  if (!status.ok()) return invalid_argument("image_size ", status.message());
  source->height = size.height;
  source->width = size.width;
  return Status();
}

}  // namespace

Status crop_dense_masks(const View<const uint8_t, 3>& masks, bool packed, const CropImageSize& image_size,
                        const CropBoxes& boxes, const CropMasksOptions& options, const View<float, 3>& output,
                        const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_crop_dense(masks.shape, packed, image_size));
  const auto crop = [&](auto source) {
    source.count = masks.shape[0];
    source.height = image_size.height;
    source.width = image_size.width;
    source.data = masks.data;
    return crop_masks(source, boxes, options, output, parallel_for);
  };
  return packed ? crop(PackedSource()) : crop(DenseSource());
}

Status crop_rle_masks(const View<const int32_t, 1>& counts, const View<const int64_t, 1>& splits,
                      const CropImageSize& image_size, const CropBoxes& boxes, const CropMasksOptions& options,
                      const View<float, 3>& output, const ParallelFor& parallel_for) {
  RunSource source;
  KSEG_RETURN_IF_ERROR(set_size(image_size, &source));
  KSEG_RETURN_IF_ERROR(check_splits(splits, counts.shape[0], "mask_splits"));
  source.count = splits.shape[0] - 1;
  source.runs.resize(static_cast<size_t>(source.count));
  const int64_t pixels = image_size.height * image_size.width;
  KSEG_RETURN_IF_ERROR(for_each_mask(source.count, 500, "counts ", parallel_for, [&](int64_t mask) {
    const int64_t begin = splits.data[mask], end = splits.data[mask + 1];
    int64_t total = 0;
    for (int64_t i = begin; i < end; ++i) {
      if (counts.data[i] < 0) return invalid_argument("must not be negative, got ", counts.data[i]);
      total += counts.data[i];
    }
    // No run for a padding mask of no pixels.
    if (total != pixels) {
      return invalid_argument("must sum to height * width of image_size = ", pixels, ", got ", total);
    }
    source.runs[mask] = {reinterpret_cast<const uint32_t*>(counts.data + begin), end - begin};
    return Status();
  }));
  return crop_masks(source, boxes, options, output, parallel_for);
}

template <class T>
Status crop_polygon_masks(const View<const T, 1>& coordinates, const View<const int64_t, 1>& polygon_splits,
                          const View<const int64_t, 1>& mask_splits, const CropImageSize& image_size,
                          const CropBoxes& boxes, const CropMasksOptions& options, const View<float, 3>& output,
                          const ParallelFor& parallel_for) {
  RunSource source;
  KSEG_RETURN_IF_ERROR(set_size(image_size, &source));
  KSEG_RETURN_IF_ERROR(check_splits(polygon_splits, coordinates.shape[0], "polygon_splits"));
  KSEG_RETURN_IF_ERROR(check_splits(mask_splits, polygon_splits.shape[0] - 1, "mask_splits"));
  source.count = mask_splits.shape[0] - 1;
  source.made.resize(static_cast<size_t>(source.count));
  source.runs.resize(static_cast<size_t>(source.count));
  KSEG_RETURN_IF_ERROR(for_each_mask(source.count, 20000, "polygons ", parallel_for, [&](int64_t mask) {
    std::vector<Rle> parts;
    std::vector<double> corners;
    for (int64_t polygon = mask_splits.data[mask]; polygon < mask_splits.data[mask + 1]; ++polygon) {
      const int64_t begin = polygon_splits.data[polygon], end = polygon_splits.data[polygon + 1];
      if ((end - begin) % 2 != 0) {
        return invalid_argument("must hold pairs of x and y, got ", end - begin, " coordinates");
      }
      corners.assign(coordinates.data + begin, coordinates.data + end);
      parts.emplace_back();
      parts.back().height = image_size.height;
      parts.back().width = image_size.width;
      KSEG_RETURN_IF_ERROR(rle_from_polygon(corners.data(), (end - begin) / 2, &parts.back()));
    }
    if (parts.size() > 1) {
      Rle merged;
      KSEG_RETURN_IF_ERROR(rle_merge(parts.data(), static_cast<int64_t>(parts.size()), false, &merged));
      source.made[mask] = std::move(merged.counts);
    } else if (parts.size() == 1) {
      source.made[mask] = std::move(parts[0].counts);
    }
    source.runs[mask] = {source.made[mask].data(), static_cast<int64_t>(source.made[mask].size())};
    return Status();
  }));
  return crop_masks(source, boxes, options, output, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                                        \
  template KSEG_API Status crop_polygon_masks<T>(                                                                  \
      const View<const T, 1>&, const View<const int64_t, 1>&, const View<const int64_t, 1>&, const CropImageSize&, \
      const CropBoxes&, const CropMasksOptions&, const View<float, 3>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(double)

}  // namespace kseg
