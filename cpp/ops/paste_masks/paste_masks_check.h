// What paste_masks checks, on the CPU and for a GPU.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CHECK_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CHECK_H_

#include <cstdint>
#include <limits>

#include "base/status.h"
#include "base/view.h"
#include "ops/paste_masks/paste_masks.h"

namespace kseg {

inline Status check_paste_arrays(const Shape<3>& masks, const Shape<2>& boxes, const PasteOptions& options,
                                 int64_t row_bytes) {
  if (boxes != Shape<2>{masks[0], 4}) {
    return invalid_argument("boxes must have shape ", to_string<2>({masks[0], 4}), " for masks of shape ",
                            to_string<3>(masks), ", got ", to_string<2>(boxes));
  }
  for (const int axis : {1, 2}) {
    if (masks[axis] > kMaxPasteMaskSize) {
      return invalid_argument("masks must have at most ", kMaxPasteMaskSize, " rows and columns, got shape ",
                              to_string<3>(masks));
    }
  }
  for (const int64_t size : {options.height, options.width}) {
    if (size < 0 || size > kMaxPasteImageSize) {
      return invalid_argument("image_size must be in 0..", kMaxPasteImageSize, ", got ", size);
    }
  }
  if (row_bytes == 0) {
    if (options.height * options.width > std::numeric_limits<int32_t>::max()) {
      return invalid_argument("image_size must give fewer than 2**31 pixels for run lengths, got ", options.height,
                              " x ", options.width);
    }
  } else if (masks[0] > 0 && options.height > kMaxPasteBytes / row_bytes / masks[0]) {
    return invalid_argument("image_size times the number of masks must give at most ", kMaxPasteBytes, " bytes, got ",
                            masks[0], " x ", options.height, " x ", row_bytes);
  }
  return Status();
}

inline Status check_paste_result(const Shape<3>& masks, const Shape<2>& boxes, const PasteOptions& options,
                                 int64_t row_bytes, const Shape<3>& output) {
  KSEG_RETURN_IF_ERROR(check_paste_arrays(masks, boxes, options, row_bytes));
  if (output == Shape<3>{masks[0], options.height, row_bytes}) return Status();
  return invalid_argument("the result must have shape ", to_string<3>({masks[0], options.height, row_bytes}), ", got ",
                          to_string<3>(output));
}

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CHECK_H_
