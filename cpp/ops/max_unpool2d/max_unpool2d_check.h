// What the launchers of max unpooling check, on the CPU and for a GPU.
#ifndef KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CHECK_H_
#define KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CHECK_H_

#include <cstdint>
#include <limits>

#include "base/status.h"
#include "base/view.h"

namespace kseg {

// `batch` and `channels` may be 0 for unknown.
inline Status check_unpooled_size(int64_t output_height, int64_t output_width, int64_t batch, int64_t channels) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  constexpr double kMostElements = static_cast<double>(int64_t{1} << 59);  // their bytes still fit int64
  if (output_height < 0 || output_width < 0 || output_height > kMost || output_width > kMost ||
      output_height * output_width > kMost) {
    return invalid_argument("output_size must not be negative and must have fewer than 2**31 pixels, got ",
                            output_height, " x ", output_width);
  }
  const double pixels = static_cast<double>(batch) * static_cast<double>(output_height * output_width);
  if (pixels * static_cast<double>(channels) > kMostElements) {
    return invalid_argument("output_size must give at most 2**59 elements, got ", output_height, " x ", output_width,
                            " for ", batch, " images of ", channels, " channels");
  }
  return Status();
}

// All but the indices themselves. `output_name`: what the caller knows the output as.
inline Status check_unpooling(const Shape<4>& values, const Shape<4>& indices, const Shape<4>& output,
                              const char* output_name) {
  KSEG_RETURN_IF_ERROR(check_unpooled_size(output[1], output[2], output[0], output[3]));
  if (values != indices) {
    return invalid_argument("indices must have the shape of the values, ", to_string<4>(values), ", got ",
                            to_string<4>(indices));
  }
  if (output[0] != values[0] || output[3] != values[3]) {
    return invalid_argument(output_name, " must have as many images and channels as indices of shape ",
                            to_string<4>(indices), ", got shape ", to_string<4>(output));
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CHECK_H_
