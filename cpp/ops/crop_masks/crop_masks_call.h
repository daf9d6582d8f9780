// What the ops of CropMasks check and run, whichever framework calls.
#ifndef KSEG_OPS_CROP_MASKS_CROP_MASKS_CALL_H_
#define KSEG_OPS_CROP_MASKS_CROP_MASKS_CALL_H_

#include <vector>

#include "base/op_call.h"
#include "ops/crop_masks/crop_masks.h"
#include "ops/crop_masks/crop_masks_cuda.h"

namespace kseg {

class CropMasksAttributes {
 public:
  Status read(const OpAttributes& attributes) {
    std::vector<int64_t> size;
    int64_t sampling_ratio = 0;
    KSEG_RETURN_IF_ERROR(attributes.get("size", &size));
    KSEG_RETURN_IF_ERROR(attributes.get("sampling_ratio", &sampling_ratio));
    KSEG_RETURN_IF_ERROR(attributes.get("aligned", &options.aligned));
    if (size.size() != 2) {
      return invalid_argument("size must have two entries, height and width, got ", size.size());
    }
    options.height = size[0];
    options.width = size[1];
    return check_crop_masks(size[0], size[1], sampling_ratio, &options.sampling_ratio);
  }

  CropMasksOptions options;

 protected:
  // `boxes`, `mask_indices` and `image_size` are the last three of the inputs.
  Status prepare(OpCall& call, CropBoxes* boxes, CropImageSize* image_size, View<float, 3>* output) const {
    const int first = call.num_inputs() - 3;
    KSEG_RETURN_IF_ERROR(call.input(first, "boxes", &boxes->boxes));
    KSEG_RETURN_IF_ERROR(call.input(first + 1, "mask_indices", &boxes->mask_indices));
    int64_t size[2];
    KSEG_RETURN_IF_ERROR(call.input_integers(first + 2, "image_size", 2, "two entries, height and width", size));
    *image_size = {size[0], size[1]};
    KSEG_RETURN_IF_ERROR(check_crop_count(boxes->boxes.shape[0], options));
    return call.output(0, {boxes->boxes.shape[0], options.height, options.width}, output);
  }
};

class CropMasksOp : public CropMasksAttributes {
 public:
  Status read(const OpAttributes& attributes) {
    KSEG_RETURN_IF_ERROR(CropMasksAttributes::read(attributes));
    return attributes.get("packed", &packed_);
  }

  Status run(OpCall& call) const {
    View<const uint8_t, 3> masks;
    CropBoxes boxes;
    CropImageSize image_size;
    View<float, 3> output;
    KSEG_RETURN_IF_ERROR(call.input(0, "masks", &masks));
    KSEG_RETURN_IF_ERROR(prepare(call, &boxes, &image_size, &output));
    return run_on_device<float>(
        call,
        [&](const ParallelFor& parallel_for) {
          return crop_dense_masks(masks, packed_, image_size, boxes, options, output, parallel_for);
        },
        [&](const auto& cuda) {
          return crop_dense_masks_cuda(masks, packed_, image_size, boxes, options, output, cuda);
        });
  }

 private:
  bool packed_ = false;
};

class CropMasksRleOp : public CropMasksAttributes {
 public:
  Status run(OpCall& call) const {
    View<const int32_t, 1> counts;
    View<const int64_t, 1> splits;
    CropBoxes boxes;
    CropImageSize image_size;
    View<float, 3> output;
    KSEG_RETURN_IF_ERROR(call.input(0, "counts", &counts));
    KSEG_RETURN_IF_ERROR(call.input(1, "mask_splits", &splits));
    KSEG_RETURN_IF_ERROR(prepare(call, &boxes, &image_size, &output));
    return run_on_device<float>(
        call,
        [&](const ParallelFor& parallel_for) {
          return crop_rle_masks(counts, splits, image_size, boxes, options, output, parallel_for);
        },
        [&](const auto& cuda) {
          return crop_rle_masks_cuda(counts, splits, image_size, boxes, options, output, cuda);
        });
  }
};

class CropMasksPolygonOp : public CropMasksAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, double>(call.input(0).type, "coordinates", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 1> coordinates;
      View<const int64_t, 1> polygon_splits, mask_splits;
      CropBoxes boxes;
      CropImageSize image_size;
      View<float, 3> output;
      KSEG_RETURN_IF_ERROR(call.input(0, "coordinates", &coordinates));
      KSEG_RETURN_IF_ERROR(call.input(1, "polygon_splits", &polygon_splits));
      KSEG_RETURN_IF_ERROR(call.input(2, "mask_splits", &mask_splits));
      KSEG_RETURN_IF_ERROR(prepare(call, &boxes, &image_size, &output));
      return run_on_device<float>(
          call,
          [&](const ParallelFor& parallel_for) {
            return crop_polygon_masks<T>(coordinates, polygon_splits, mask_splits, image_size, boxes, options, output,
                                         parallel_for);
          },
          [&](const auto& cuda) {
            return crop_polygon_masks_cuda<T>(coordinates, polygon_splits, mask_splits, image_size, boxes, options,
                                              output, cuda);
          });
    });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_CROP_MASKS_CROP_MASKS_CALL_H_
