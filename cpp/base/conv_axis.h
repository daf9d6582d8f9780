// The geometry of a dilated convolution of stride 1 along one axis.
#ifndef KSEG_BASE_CONV_AXIS_H_
#define KSEG_BASE_CONV_AXIS_H_

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/status.h"

namespace kseg {

enum class Padding : int { kSame, kValid };

inline Status parse_padding(const std::string& name, Padding* padding) {
  if (name != "same" && name != "valid") {
    return invalid_argument("padding must be 'same' or 'valid', got '", name, "'");
  }
  *padding = name == "same" ? Padding::kSame : Padding::kValid;
  return Status();
}

// Bounds that keep every product of theirs within int64.
inline constexpr int64_t kMaxConvRate = 1 << 16;
inline constexpr int64_t kMaxConvKernel = 1 << 20;
inline constexpr int64_t kMaxConvExtent = int64_t{1} << 40;

// Tap `i` of output `o` reads input `o + i * rate - before`, where that exists.
struct ConvAxis {
  int64_t input = 0;
  int64_t kernel = 1;
  int64_t rate = 1;
  int64_t before = 0;
  int64_t output = 0;

  // The outputs whose tap meets the input: [first_output(tap), last_output(tap)), perhaps empty.
  int64_t first_output(int64_t tap) const { return std::clamp<int64_t>(before - tap * rate, 0, output); }
  int64_t last_output(int64_t tap) const { return std::clamp<int64_t>(input + before - tap * rate, 0, output); }
};

// `name`: "height" or "width", for the message. "same" centres the kernel, with the odd pixel of padding at the end.
inline Status make_conv_axis(const char* name, int64_t input, int64_t kernel, int64_t rate, Padding padding,
                             ConvAxis* axis) {
  if (rate < 1 || rate > kMaxConvRate) {
    return invalid_argument("rate must be in 1..", kMaxConvRate, ", got ", rate);
  }
  if (kernel < 1 || kernel > kMaxConvKernel) {
    return invalid_argument("filters must have a ", name, " in 1..", kMaxConvKernel, ", got ", kernel);
  }
  if (input < 0 || input > kMaxConvExtent) {
    return invalid_argument("x must have a ", name, " of at most 2**40, got ", input);
  }
  const int64_t reach = (kernel - 1) * rate;
  *axis = {input, kernel, rate, padding == Padding::kSame ? reach / 2 : 0, input};
  if (padding == Padding::kValid) {
    if (input < reach) {
      return invalid_argument("x must have a ", name, " of at least ", reach,
                              " for padding 'valid' with this kernel and rate, got ", input);
    }
    axis->output = input - reach;
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_BASE_CONV_AXIS_H_
