// Shapes that come as tensors or are put together from arguments, with errors that name the argument: TensorFlow's own
// name none.
#ifndef KSEG_ADAPTERS_TF_SHAPES_H_
#define KSEG_ADAPTERS_TF_SHAPES_H_

#include <algorithm>
#include <string>

#include "adapters/tf_adapter.h"
#include "base/result_size.h"
#include "tensorflow/core/framework/tensor_shape.h"

namespace kseg {

// The four extents in a tensor of int32 or int64, of an array whose elements take `element_bytes`.
inline absl::Status get_shape(const char* argument, const tensorflow::Tensor& tensor, int64_t element_bytes,
                              Shape<4>* shape) {
  TF_RETURN_IF_ERROR(check_rank(tensor, 1, argument));
  if (tensor.NumElements() != 4) {
    return to_absl(invalid_argument(argument, " must have four entries, got ", tensor.NumElements()));
  }
  if (tensor.dtype() == tensorflow::DT_INT32) {
    std::copy_n(tensor.flat<int32_t>().data(), 4, shape->begin());
  } else {
    std::copy_n(tensor.flat<int64_t>().data(), 4, shape->begin());
  }
  const auto& [batch, height, width, channels] = *shape;
  return to_absl(check_result_size(argument, {batch, height, width, channels, element_bytes}));
}

}  // namespace kseg

#endif  // KSEG_ADAPTERS_TF_SHAPES_H_
