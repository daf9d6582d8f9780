// What the launchers of connected components check, on the CPU and for a GPU.
#ifndef KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CHECK_H_
#define KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CHECK_H_

#include <limits>

#include "base/status.h"
#include "base/view.h"
#include "ops/connected_components/connected_components.h"

namespace kseg {

// Checks what a result's size depends on before memory is allocated for it, and sets `*narrowed` to the connectivity.
inline Status check_connected_components(const Shape<3>& masks, int64_t connectivity, int* narrowed) {
  if (connectivity != 4 && connectivity != 8) {
    return invalid_argument("connectivity must be 4 or 8, got ", connectivity);
  }
  *narrowed = static_cast<int>(connectivity);
  if (masks[0] > kMostComponentImages) {
    return invalid_argument("masks must hold at most ", kMostComponentImages, " images, got shape ",
                            to_string<3>(masks));
  }
  // Places for runs are counted in 32 bits; a stripe may end beyond the last row.
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t height = masks[1], width = masks[2];
  if (height > 0 && width > 0 && (width > kMost - 1 || height > kMost || width / 2 + 1 > kMost / (2 * height))) {
    return invalid_argument("masks must have fewer than 2**31 pixels per image, got shape ", to_string<3>(masks));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_CONNECTED_COMPONENTS_CONNECTED_COMPONENTS_CHECK_H_
