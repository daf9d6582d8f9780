// What MultilevelRoiAlign and its gradient check and run, whichever framework calls.
#ifndef KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CALL_H_
#define KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CALL_H_

#include <vector>

#include "base/op_call.h"
#include "ops/multilevel_roi_align/multilevel_roi_align.h"
#include "ops/multilevel_roi_align/multilevel_roi_align_cuda.h"

namespace kseg {

struct MultilevelRoiAlignAttributes {
  int levels = 0;
  std::vector<int64_t> output_size;
  MultilevelRoiAlignOptions options;

  Status read(const OpAttributes& attributes) {
    int64_t count = 0, sampling_ratio = 0;
    KSEG_RETURN_IF_ERROR(attributes.get("levels", &count));
    KSEG_RETURN_IF_ERROR(attributes.get("output_size", &output_size));
    KSEG_RETURN_IF_ERROR(attributes.get("spatial_scales", &options.spatial_scales));
    KSEG_RETURN_IF_ERROR(attributes.get("level_areas", &options.level_areas));
    KSEG_RETURN_IF_ERROR(attributes.get("sampling_ratio", &sampling_ratio));
    KSEG_RETURN_IF_ERROR(attributes.get("aligned", &options.aligned));
    if (output_size.size() != 2) {
      return invalid_argument("output_size must have two entries, height and width, got ", output_size.size());
    }
    KSEG_RETURN_IF_ERROR(check_multilevel_roi_align(output_size[0], output_size[1], sampling_ratio, count, &options));
    levels = static_cast<int>(count);
    return Status();
  }
};

class MultilevelRoiAlignOp : public MultilevelRoiAlignAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16, double>(call.input(0).type, "features", [&](auto tag) {
      using T = typename decltype(tag)::type;
      std::vector<View<const T, 4>> features(levels);
      View<const float, 3> boxes;
      for (int level = 0; level < levels; ++level) {
        KSEG_RETURN_IF_ERROR(call.input(level, "features", &features[level]));
      }
      KSEG_RETURN_IF_ERROR(call.input(levels, "boxes", &boxes));
      const Shape<5> shape = {boxes.shape[0], boxes.shape[1], output_size[0], output_size[1], features[0].shape[3]};
      KSEG_RETURN_IF_ERROR(
          check_result_size("output_size", {shape[0], shape[1], shape[2], shape[3], shape[4], int64_t{sizeof(T)}}));
      View<T, 5> output;
      KSEG_RETURN_IF_ERROR(call.output(0, shape, &output));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            return multilevel_roi_align<T>(features, boxes, options, output, parallel_for);
          },
          [&](const auto& cuda) { return multilevel_roi_align_cuda<T>(features, boxes, options, output, cuda); });
    });
  }
};

class MultilevelRoiAlignGradOp : public MultilevelRoiAlignAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16, double>(call.input(0).type, "output_gradient", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 5> gradient;
      View<const float, 3> boxes;
      KSEG_RETURN_IF_ERROR(call.input(0, "output_gradient", &gradient));
      KSEG_RETURN_IF_ERROR(call.input(1, "boxes", &boxes));
      if (gradient.shape[2] != output_size[0] || gradient.shape[3] != output_size[1]) {
        return invalid_argument("output_gradient must have the rows and columns of output_size, got shape ",
                                call.input(0).shape_text());
      }
      std::vector<Shape<4>> shapes(levels);
      for (int level = 0; level < levels; ++level) {
        KSEG_RETURN_IF_ERROR(call.input_shape(2 + level, "features_shapes", sizeof(T), &shapes[level]));
        // Before any of the gradients is allocated: a wrong shape may be of any size.
        if (shapes[level][0] != gradient.shape[0] || shapes[level][3] != gradient.shape[4]) {
          return invalid_argument("features_shapes[", level, "] must have B = ", gradient.shape[0],
                                  " and C = ", gradient.shape[4], ", got ", to_string<4>(shapes[level]));
        }
      }
      std::vector<View<T, 4>> features_gradients(levels);
      for (int level = 0; level < levels; ++level) {
        KSEG_RETURN_IF_ERROR(call.output(level, shapes[level], &features_gradients[level]));
      }
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            return multilevel_roi_align_grad<T>(gradient, boxes, options, features_gradients, parallel_for);
          },
          [&](const auto& cuda) {
            return multilevel_roi_align_grad_cuda<T>(gradient, boxes, options, features_gradients, cuda);
          });
    });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_MULTILEVEL_ROI_ALIGN_MULTILEVEL_ROI_ALIGN_CALL_H_
