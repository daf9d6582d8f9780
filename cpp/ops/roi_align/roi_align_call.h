// What RoiAlign and its gradient check and run, whichever framework calls.
#ifndef KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CALL_H_
#define KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CALL_H_

#include <vector>

#include "base/op_call.h"
#include "ops/roi_align/roi_align.h"
#include "ops/roi_align/roi_align_cuda.h"

namespace kseg {

struct RoiAlignAttributes {
  std::vector<int64_t> output_size;
  RoiAlignOptions options;

  Status read(const OpAttributes& attributes) {
    int64_t sampling_ratio = 0;
    KSEG_RETURN_IF_ERROR(attributes.get("output_size", &output_size));
    KSEG_RETURN_IF_ERROR(attributes.get("spatial_scale", &options.spatial_scale));
    KSEG_RETURN_IF_ERROR(attributes.get("sampling_ratio", &sampling_ratio));
    KSEG_RETURN_IF_ERROR(attributes.get("aligned", &options.aligned));
    if (output_size.size() != 2) {
      return invalid_argument("output_size must have two entries, height and width, got ", output_size.size());
    }
    return check_roi_align(output_size[0], output_size[1], options.spatial_scale, sampling_ratio,
                           &options.sampling_ratio);
  }
};

inline Status get_rois(const OpCall& call, Rois* rois) {
  KSEG_RETURN_IF_ERROR(call.input(1, "boxes", &rois->boxes));
  return call.input(2, "box_indices", &rois->image_indices);
}

class RoiAlignOp : public RoiAlignAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16, double>(call.input(0).type, "features", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 4> features;
      View<T, 4> output;
      Rois rois;
      KSEG_RETURN_IF_ERROR(call.input(0, "features", &features));
      KSEG_RETURN_IF_ERROR(get_rois(call, &rois));
      const Shape<4> shape = {rois.boxes.shape[0], output_size[0], output_size[1], features.shape[3]};
      KSEG_RETURN_IF_ERROR(
          check_result_size("output_size", {shape[0], shape[1], shape[2], shape[3], int64_t{sizeof(T)}}));
      KSEG_RETURN_IF_ERROR(call.output(0, shape, &output));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) { return roi_align(features, rois, options, output, parallel_for); },
          [&](const auto& cuda) { return roi_align_cuda(features, rois, options, output, cuda); });
    });
  }
};

class RoiAlignGradOp : public RoiAlignAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16, double>(call.input(0).type, "output_gradient", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 4> gradient;
      View<T, 4> features_gradient;
      Rois rois;
      Shape<4> shape;
      KSEG_RETURN_IF_ERROR(call.input(0, "output_gradient", &gradient));
      KSEG_RETURN_IF_ERROR(get_rois(call, &rois));
      KSEG_RETURN_IF_ERROR(call.input_shape(3, "features_shape", sizeof(T), &shape));
      if (gradient.shape[1] != output_size[0] || gradient.shape[2] != output_size[1]) {
        return invalid_argument("output_gradient must have the rows and columns of output_size, got shape ",
                                call.input(0).shape_text());
      }
      KSEG_RETURN_IF_ERROR(call.output(0, shape, &features_gradient));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            return roi_align_grad(gradient, rois, options, features_gradient, parallel_for);
          },
          [&](const auto& cuda) { return roi_align_grad_cuda(gradient, rois, options, features_gradient, cuda); });
    });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_ROI_ALIGN_ROI_ALIGN_CALL_H_
