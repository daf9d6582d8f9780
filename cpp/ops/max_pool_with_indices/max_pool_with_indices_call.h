// What MaxPoolWithIndices and its gradient check and run, whichever framework calls.
#ifndef KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CALL_H_
#define KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CALL_H_

#include <algorithm>
#include <string>
#include <vector>

#include "base/op_call.h"
#include "ops/max_pool_with_indices/max_pool_with_indices.h"
#include "ops/max_pool_with_indices/max_pool_with_indices_cuda.h"

namespace kseg {

struct MaxPoolAttributes {
  PoolWindows windows;

  Status read(const OpAttributes& attributes) {
    std::vector<int64_t> pool, strides;
    std::string padding;
    KSEG_RETURN_IF_ERROR(attributes.get("pool_size", &pool));
    KSEG_RETURN_IF_ERROR(attributes.get("strides", &strides));
    KSEG_RETURN_IF_ERROR(attributes.get("padding", &padding));
    if (pool.size() != 2 || strides.size() != 2) {
      return invalid_argument("pool_size and strides must have two entries, got ", pool.size(), " and ",
                              strides.size());
    }
    KSEG_RETURN_IF_ERROR(check_pool(pool[0], pool[1], strides[0], strides[1]));
    windows.rows = {pool[0], strides[0], padding == "same"};
    windows.columns = {pool[1], strides[1], padding == "same"};
    return Status();
  }

  Shape<4> pooled(const Shape<4>& images) const {
    return {images[0], windows.rows.outputs(images[1]), windows.columns.outputs(images[2]), images[3]};
  }
};

class MaxPoolWithIndicesOp : public MaxPoolAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16, double>(call.input(0).type, "x", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 4> x;
      View<T, 4> y;
      View<int32_t, 4> indices;
      KSEG_RETURN_IF_ERROR(call.input(0, "x", &x));
      KSEG_RETURN_IF_ERROR(check_pool_image(x.shape, "x"));
      KSEG_RETURN_IF_ERROR(call.output(0, pooled(x.shape), &y));
      KSEG_RETURN_IF_ERROR(call.output(1, pooled(x.shape), &indices));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) { return max_pool_with_indices(x, windows, y, indices, parallel_for); },
          [&](const auto& cuda) { return max_pool_with_indices_cuda(x, windows, y, indices, cuda); });
    });
  }
};

class MaxPoolWithIndicesGradOp : public MaxPoolAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16, double>(call.input(0).type, "y_gradient", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 4> gradient;
      View<const int32_t, 4> indices;
      View<T, 4> x_gradient;
      Shape<4> images;
      KSEG_RETURN_IF_ERROR(call.input(0, "y_gradient", &gradient));
      KSEG_RETURN_IF_ERROR(call.input(1, "indices", &indices));
      KSEG_RETURN_IF_ERROR(call.input_integers(2, "x_shape", 4, "four entries", images.data()));
      if (*std::min_element(images.begin(), images.end()) < 0) {
        return invalid_argument("x_shape must not be negative, got ", to_string<4>(images));
      }
      KSEG_RETURN_IF_ERROR(check_pool_image(images, "x_shape"));
      // Before memory is taken: the images cannot be larger than what their windows reach.
      if (gradient.shape != pooled(images) || indices.shape != pooled(images)) {
        return invalid_argument("y_gradient and indices must have shape ", to_string<4>(pooled(images)),
                                " for x_shape ", to_string<4>(images), ", got ", call.input(0).shape_text(), " and ",
                                call.input(1).shape_text());
      }
      if (!check_result_size("x_shape", {images[0], images[1], images[2], images[3]}).ok()) {
        return invalid_argument("x_shape must have fewer than 2**63 elements, got ", to_string<4>(images));
      }
      KSEG_RETURN_IF_ERROR(call.output(0, images, &x_gradient));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            return max_pool_with_indices_grad(gradient, indices, windows, x_gradient, parallel_for);
          },
          [&](const auto& cuda) {
            return max_pool_with_indices_grad_cuda(gradient, indices, windows, x_gradient, cuda);
          });
    });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_MAX_POOL_WITH_INDICES_MAX_POOL_WITH_INDICES_CALL_H_
