// What the calls of all dilated convolutions have in common.
#ifndef KSEG_BASE_CONV_CALL_H_
#define KSEG_BASE_CONV_CALL_H_

#include <string>
#include <vector>

#include "base/conv_axis.h"
#include "base/op_call.h"

namespace kseg {

// The attributes `rate` and `padding`.
inline Status get_conv_options(const OpAttributes& attributes, ConvOptions* options) {
  std::vector<int64_t> rate;
  std::string padding;
  KSEG_RETURN_IF_ERROR(attributes.get("rate", &rate));
  KSEG_RETURN_IF_ERROR(attributes.get("padding", &padding));
  return parse_conv_options(rate, padding, options);
}

}  // namespace kseg

#endif  // KSEG_BASE_CONV_CALL_H_
