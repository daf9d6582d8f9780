#include "ops/paste_masks/paste_masks.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/huge_pages.h"
#include "ops/paste_masks/exact_fma.h"
#include "ops/paste_masks/paste_masks_check.h"
#include "ops/paste_masks/paste_taps.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "ops/paste_masks/paste_strip.h"  // target code only

KSEG_KERNEL_BEGIN
namespace {

// Rows that one piece of work fills and pastes into while they are in the cache.
constexpr int64_t kBand = 128;

KSEG_INLINE void clear(uint8_t* to, int64_t bytes) { __builtin_memset(to, 0, static_cast<size_t>(bytes)); }

// Where the value changes, as pixel numbers in column-major order: even entries begin a run of ones, odd ones end it.
class Changes {
 public:
  void clear() { at_.clear(); }
  // A run that begins where the one before it ended continues that.
  void add(int64_t pixel) {
    if (!at_.empty() && at_.back() == pixel) {
      at_.pop_back();
    } else {
      at_.push_back(pixel);
    }
  }
  void append_counts(int64_t pixels, std::vector<int32_t>* counts) const {
    int64_t last = 0;
    for (const int64_t pixel : at_) {
      counts->push_back(static_cast<int32_t>(pixel - last));
      last = pixel;
    }
    if (last < pixels || at_.empty()) counts->push_back(static_cast<int32_t>(pixels - last));
  }

 private:
  std::vector<int64_t> at_;
};

// Rows [top, bottom) of a strip, transposed: `columns` of 64 words for every 64 rows.
void find_changes(const uint64_t* columns, const PasteBox& box, int64_t word, int64_t image_height, Changes* changes) {
  const int64_t blocks = (box.y.end - box.y.begin + kStrip - 1) / kStrip;
  const int64_t first = std::max(box.x.begin, kStrip * word), last = std::min(box.x.end, kStrip * word + kStrip);
  for (int64_t x = first; x < last; ++x) {
    const int64_t start = x * image_height + box.y.begin;
    uint64_t before = 0;  // the pixel above
    for (int64_t block = 0; block < blocks; ++block) {
      const uint64_t bits = columns[block * kStrip + x - kStrip * word];
      uint64_t differ = bits ^ (bits << 1 | before);
      before = bits >> 63;
      for (; differ != 0; differ &= differ - 1) changes->add(start + block * kStrip + __builtin_ctzll(differ));
    }
    // Rows behind the box's last are 0 and end a run, but for one that fills its last block.
    if (before) changes->add(start + blocks * kStrip);
  }
}

}  // namespace

template <class T>
Status paste_masks_kernel(const View<const T, 3>& masks, const View<const float, 2>& boxes, const PasteOptions& options,
                          bool packed, const View<uint8_t, 3>& output, const ParallelFor& parallel_for) {
  const auto [count, mask_height, mask_width] = masks.shape;
  const int64_t row_bytes = output.shape[2];
  const int64_t bands = (options.height + kBand - 1) / kBand;
  const int64_t cost = kBand * row_bytes / 8 + 5000;
  parallel_for.run(count * bands, cost, [&](int64_t begin, int64_t end) {
    PasteScratch scratch;
    uint64_t bits[kBand];
    alignas(64) uint8_t pixels[kStrip];
    int64_t loaded = -1;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t index = unit / bands, band = unit % bands;
      const int64_t top = band * kBand, bottom = std::min(top + kBand, options.height);
      uint8_t* const image = output.data + index * options.height * row_bytes;
      clear(image + top * row_bytes, (bottom - top) * row_bytes);
      const PasteBox box = paste_box(boxes.data + 4 * index, mask_height, mask_width, options);
      const int64_t first_row = std::max(top, box.y.begin), last_row = std::min(bottom, box.y.end);
      if (box.empty() || first_row >= last_row) continue;
      if (loaded != index) load_mask(masks.data + index * mask_height * mask_width, mask_height, mask_width, &scratch);
      loaded = index;
      for (int64_t word = box.x.begin / kStrip; word * kStrip < box.x.end; ++word) {
        paste_strip(box, word, first_row, last_row, options.threshold, &scratch, bits);
        const int64_t offset = packed ? 8 * word : kStrip * word;
        const int64_t size = std::min<int64_t>(packed ? 8 : kStrip, row_bytes - offset);
        for (int64_t y = first_row; y < last_row; ++y) {
          uint8_t* const to = image + y * row_bytes + offset;
          const uint64_t set = bits[y - first_row];
          if (packed) {
            for (int64_t byte = 0; byte < size; ++byte) to[byte] = static_cast<uint8_t>(set >> (8 * byte));
          } else if (size == kStrip) {
            unpack_bits(set, to);
          } else {
            unpack_bits(set, pixels);
            __builtin_memcpy(to, pixels, static_cast<size_t>(size));
          }
        }
      }
    }
  });
  return Status();
}

template <class T>
Status paste_masks_rle_kernel(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                              const PasteOptions& options, std::vector<std::vector<int32_t>>* counts,
                              const ParallelFor& parallel_for) {
  const auto [count, mask_height, mask_width] = masks.shape;
  parallel_for.run(count, 100000, [&](int64_t begin, int64_t end) {
    PasteScratch scratch;
    Changes changes;
    std::vector<uint64_t> bits;
    for (int64_t index = begin; index < end; ++index) {
      const PasteBox box = paste_box(boxes.data + 4 * index, mask_height, mask_width, options);
      changes.clear();
      if (!box.empty()) {
        load_mask(masks.data + index * mask_height * mask_width, mask_height, mask_width, &scratch);
        const int64_t rows = box.y.end - box.y.begin;
        const int64_t blocks = (rows + kStrip - 1) / kStrip;
        bits.assign(blocks * kStrip, 0);
        for (int64_t word = box.x.begin / kStrip; word * kStrip < box.x.end; ++word) {
          std::fill(bits.begin() + rows, bits.end(), 0);
          paste_strip(box, word, box.y.begin, box.y.end, options.threshold, &scratch, bits.data());
          for (int64_t block = 0; block < blocks; ++block) transpose_bits(bits.data() + block * kStrip);
          find_changes(bits.data(), box, word, options.height, &changes);
        }
      }
      changes.append_counts(options.height * options.width, &(*counts)[index]);
    }
  });
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                            \
  template Status paste_masks_kernel<T>(const View<const T, 3>&, const View<const float, 2>&, const PasteOptions&,     \
                                        bool, const View<uint8_t, 3>&, const ParallelFor&);                            \
  template Status paste_masks_rle_kernel<T>(const View<const T, 3>&, const View<const float, 2>&, const PasteOptions&, \
                                            std::vector<std::vector<int32_t>>*, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status paste_masks_kernel(const View<const T, 3>&, const View<const float, 2>&,
                                                                 const PasteOptions&, bool, const View<uint8_t, 3>&,
                                                                 const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T> Status paste_masks_rle_kernel(const View<const T, 3>&,
                                                                     const View<const float, 2>&, const PasteOptions&,
                                                                     std::vector<std::vector<int32_t>>*,
                                                                     const ParallelFor&))

Status make_paste_options(const std::string& mode, double threshold, PasteOptions* options) {
  if (mode == "detectron2") {
    options->mode = PasteMode::kDetectron2;
  } else if (mode == "torchvision") {
    options->mode = PasteMode::kTorchvision;
  } else {
    return invalid_argument("mode must be detectron2 or torchvision, got ", mode);
  }
  if (!(threshold >= kLeastPasteThreshold && threshold <= kMostPasteThreshold)) {
    return invalid_argument("threshold must be positive, in ", kLeastPasteThreshold, "..", kMostPasteThreshold,
                            ", got ", threshold);
  }
  options->threshold = static_cast<float>(threshold);
  return Status();
}

Status check_paste_masks(const Shape<3>& masks, const Shape<2>& boxes, const PasteOptions& options, int64_t row_bytes) {
  return check_paste_arrays(masks, boxes, options, row_bytes);
}

template <class T>
Status paste_masks(const View<const T, 3>& masks, const View<const float, 2>& boxes, const PasteOptions& options,
                   bool packed, const View<uint8_t, 3>& output, const ParallelFor& parallel_for) {
  const int64_t row_bytes = packed ? (options.width + 7) / 8 : options.width;
  KSEG_RETURN_IF_ERROR(check_paste_result(masks.shape, boxes.shape, options, row_bytes, output.shape));
  if (output.empty()) return Status();
  prefer_huge_pages(output.data, output.size());
  KSEG_RETURN_DISPATCH(paste_masks_kernel<T>, masks, boxes, options, packed, output, parallel_for);
}

namespace {

template <class T>
Status dispatch_rle(const View<const T, 3>& masks, const View<const float, 2>& boxes, const PasteOptions& options,
                    std::vector<std::vector<int32_t>>* counts, const ParallelFor& parallel_for) {
  KSEG_RETURN_DISPATCH(paste_masks_rle_kernel<T>, masks, boxes, options, counts, parallel_for);
}

}  // namespace

template <class T>
Status paste_masks_rle(const View<const T, 3>& masks, const View<const float, 2>& boxes, const PasteOptions& options,
                       PastedRuns* runs, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_paste_masks(masks.shape, boxes.shape, options, 0));
  std::vector<std::vector<int32_t>> counts(masks.shape[0]);
  KSEG_RETURN_IF_ERROR(dispatch_rle(masks, boxes, options, &counts, parallel_for));
  runs->counts.clear();
  runs->splits.assign(1, 0);
  for (const std::vector<int32_t>& one : counts) {
    runs->counts.insert(runs->counts.end(), one.begin(), one.end());
    runs->splits.push_back(static_cast<int64_t>(runs->counts.size()));
  }
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                          \
  template KSEG_API Status paste_masks<T>(const View<const T, 3>&, const View<const float, 2>&, const PasteOptions&, \
                                          bool, const View<uint8_t, 3>&, const ParallelFor&);                        \
  template KSEG_API Status paste_masks_rle<T>(const View<const T, 3>&, const View<const float, 2>&,                  \
                                              const PasteOptions&, PastedRuns*, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
