// What MaxUnpool2d and its gradient check and run, whichever framework calls.
#ifndef KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CALL_H_
#define KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CALL_H_

#include "base/op_call.h"
#include "ops/max_unpool2d/max_unpool2d.h"
#include "ops/max_unpool2d/max_unpool2d_cuda.h"

namespace kseg {

// Calls visit with an unsigned number of the element's size: values are moved and never looked at.
template <class Visitor>
Status visit_bits(ElementType type, const char* argument, Visitor&& visit) {
  return visit_type<float, Half, BFloat16, double>(type, argument, [&](auto tag) {
    constexpr size_t size = sizeof(typename decltype(tag)::type);
    if constexpr (size == sizeof(uint64_t)) {
      return visit(ElementTag<uint64_t>());
    } else if constexpr (size == sizeof(uint32_t)) {
      return visit(ElementTag<uint32_t>());
    } else {
      return visit(ElementTag<uint16_t>());
    }
  });
}

class MaxUnpool2dOp {
 public:
  Status read(const OpAttributes&) { return Status(); }

  Status run(OpCall& call) const {
    const Array array = call.input(0);
    return visit_bits(array.type, "y", [&](auto tag) {
      using Bits = typename decltype(tag)::type;
      View<const Bits, 4> values;
      View<const int32_t, 4> indices;
      View<Bits, 4> output;
      int64_t size[2];
      KSEG_RETURN_IF_ERROR(OpCall::input_bytes(array, "y", &values));
      KSEG_RETURN_IF_ERROR(call.input(1, "indices", &indices));
      KSEG_RETURN_IF_ERROR(call.input_integers(2, "output_size", 2, "2 elements, height and width", size));
      KSEG_RETURN_IF_ERROR(check_max_unpool2d(size[0], size[1], values.shape[0], values.shape[3]));
      if (values.shape != indices.shape) {
        return invalid_argument("indices must have the shape of y, ", array.shape_text(), ", got ",
                                call.input(1).shape_text());
      }
      KSEG_RETURN_IF_ERROR(call.output(0, {values.shape[0], size[0], size[1], values.shape[3]}, &output));
      return run_on_device<Bits>(
          call, [&](const ParallelFor& parallel_for) { return max_unpool2d(values, indices, output, parallel_for); },
          [&](const auto& cuda) { return max_unpool2d_cuda(values, indices, output, cuda); });
    });
  }
};

class MaxUnpool2dGradOp {
 public:
  Status read(const OpAttributes&) { return Status(); }

  Status run(OpCall& call) const {
    const Array array = call.input(0);
    return visit_bits(array.type, "x_gradient", [&](auto tag) {
      using Bits = typename decltype(tag)::type;
      View<const Bits, 4> gradient;
      View<const int32_t, 4> indices;
      View<Bits, 4> values_gradient;
      KSEG_RETURN_IF_ERROR(OpCall::input_bytes(array, "x_gradient", &gradient));
      KSEG_RETURN_IF_ERROR(call.input(1, "indices", &indices));
      KSEG_RETURN_IF_ERROR(call.output(0, indices.shape, &values_gradient));
      return run_on_device<Bits>(
          call,
          [&](const ParallelFor& parallel_for) {
            return max_unpool2d_grad(gradient, indices, values_gradient, parallel_for);
          },
          [&](const auto& cuda) { return max_unpool2d_grad_cuda(gradient, indices, values_gradient, cuda); });
    });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_MAX_UNPOOL2D_MAX_UNPOOL2D_CALL_H_
