// Pastes predicted masks (28 x 28, say) into their boxes of an image, as binary masks.
//
// Two established functions do this and differ in pixel model and rounding; both are followed to the last bit.
// kseg_ops/reference/paste_masks.py spells them out. The results: a byte per pixel, a bit per pixel, or COCO's
// run lengths, for which no more than a strip of 64 columns exists at a time.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_MASKS_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_MASKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// Pixel coordinates stay exact in float32.
inline constexpr int64_t kMaxPasteImageSize = int64_t{1} << 24;
inline constexpr int64_t kMaxPasteBytes = int64_t{1} << 38;
inline constexpr int64_t kMaxPasteMaskSize = 1 << 15;  // pixels of a side of the masks that come in
// Far above what becomes of subnormal numbers, which some threads read as 0 and others do not.
inline constexpr double kLeastPasteThreshold = 1e-12;
inline constexpr double kMostPasteThreshold = 1e12;

enum class PasteMode { kDetectron2, kTorchvision };

struct PasteOptions {
  PasteMode mode = PasteMode::kDetectron2;
  float threshold = 0.5f;  // detectron2: set at this value; torchvision: set above it
  int64_t height = 0;      // of the image
  int64_t width = 0;
};

// Checks attributes.
KSEG_API Status make_paste_options(const std::string& mode, double threshold, PasteOptions* options);

// Checks everything that decides the size of the result, before it is allocated. `row_bytes` is the size of a row of
// the result, 0 for run lengths.
KSEG_API Status check_paste_masks(const Shape<3>& masks, const Shape<2>& boxes, const PasteOptions& options,
                                  int64_t row_bytes);

// masks [N, h, w] of float, Half or BFloat16; boxes [N, 4], x1 y1 x2 y2 in pixels of the image. A box that is not
// finite sets no pixel. output [N, H, W] of 0 and 1, or, `packed`, [N, H, ceil(W / 8)] with pixel x in bit x % 8 of
// byte x / 8.
template <class T>
KSEG_API Status paste_masks(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                            const PasteOptions& options, bool packed, const View<uint8_t, 3>& output,
                            const ParallelFor& parallel_for);

// The lengths of runs of equal pixels in column-major order, beginning with 0-pixels, of all masks one after the other:
// those of mask i are counts[splits[i]] up to counts[splits[i + 1]].
struct PastedRuns {
  std::vector<int32_t> counts;
  std::vector<int64_t> splits;
};
template <class T>
KSEG_API Status paste_masks_rle(const View<const T, 3>& masks, const View<const float, 2>& boxes,
                                const PasteOptions& options, PastedRuns* runs, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_MASKS_H_
