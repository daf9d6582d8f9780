// The geometry of a dilated convolution of stride 1 along one axis.
#ifndef KSEG_BASE_CONV_AXIS_H_
#define KSEG_BASE_CONV_AXIS_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/view.h"

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
inline constexpr int64_t kMaxDepthwiseKernel = 64;
inline constexpr int64_t kMaxConvExtent = 0x7fffffff;

inline Status check_conv_rate(int64_t rate) {
  if (rate >= 1 && rate <= kMaxConvRate) return Status();
  return invalid_argument("rate must be in 1..", kMaxConvRate, ", got ", rate);
}

// Attributes of a dilated convolution.
struct ConvOptions {
  std::array<int64_t, 2> rate{1, 1};  // rows, columns
  Padding padding = Padding::kSame;
};

inline Status parse_conv_options(const std::vector<int64_t>& rate, const std::string& padding, ConvOptions* options) {
  if (rate.size() != 2) {
    return invalid_argument("rate must have two entries, for rows and columns, got ", rate.size());
  }
  for (const int axis : {0, 1}) {
    KSEG_RETURN_IF_ERROR(check_conv_rate(rate[axis]));
    options->rate[axis] = rate[axis];
  }
  return parse_padding(padding, &options->padding);
}

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

// `name`: "height" or "width", and `filters`: what they are called, for the message. "same" centres the kernel, with
// the odd pixel of padding at the end, as TensorFlow does for stride 1.
inline Status make_conv_axis(const char* name, int64_t input, int64_t kernel, int64_t rate, Padding padding,
                             ConvAxis* axis, const char* filters = "filters", int64_t most_kernel = kMaxConvKernel) {
  KSEG_RETURN_IF_ERROR(check_conv_rate(rate));
  if (kernel < 1 || kernel > most_kernel) {
    return invalid_argument(filters, " must have a ", name, " in 1..", most_kernel, ", got ", kernel);
  }
  if (input < 0 || input > kMaxConvExtent) {
    return invalid_argument("x must have a ", name, " below 2**31, got ", input);
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

// Both axes, of a map `x` [B, H, W, C] and filters [kh, kw, ...].
inline Status make_conv_axes(const Shape<4>& x, const Shape<4>& kernel, const ConvOptions& options, ConvAxis* rows,
                             ConvAxis* columns, const char* filters = "filters", int64_t most_kernel = kMaxConvKernel) {
  KSEG_RETURN_IF_ERROR(
      make_conv_axis("height", x[1], kernel[0], options.rate[0], options.padding, rows, filters, most_kernel));
  return make_conv_axis("width", x[2], kernel[1], options.rate[1], options.padding, columns, filters, most_kernel);
}

// The axis of the gradient: from outputs back to inputs, with the taps in reverse.
inline ConvAxis transpose(const ConvAxis& axis) {
  return {axis.output, axis.kernel, axis.rate, (axis.kernel - 1) * axis.rate - axis.before, axis.input};
}

}  // namespace kseg

#endif  // KSEG_BASE_CONV_AXIS_H_
