#include "cuda_harness/harness.h"
#include "ops/crop_masks/crop_masks_cuda.h"

namespace kseg {
namespace {

// sampling_ratio, aligned, height and width of the image
CropMasksOptions options_of(const HarnessCall& call, const View<float, 3>& output) {
  return {output.shape[1], output.shape[2], static_cast<int>(call.integer(0)), call.integer(1) != 0};
}
CropImageSize image_size_of(const HarnessCall& call) { return {call.integer(2), call.integer(3)}; }
CropBoxes boxes_of(const HarnessCall& call, int64_t first) {
  return {call.array<const float, 2>(first), call.array<const int32_t, 1>(first + 1)};
}

}  // namespace
}  // namespace kseg

// masks, boxes, mask_indices -> crops; sampling_ratio, aligned, height, width, packed
KSEG_HARNESS(crop_dense_masks) {
  using namespace kseg;
  const View<float, 3> output = call.array<float, 3>(3);
  return crop_dense_masks_cuda(call.array<const uint8_t, 3>(0), call.integer(4) != 0, image_size_of(call),
                               boxes_of(call, 1), options_of(call, output), output, call.context());
}

// counts, splits, boxes, mask_indices -> crops; sampling_ratio, aligned, height, width
KSEG_HARNESS(crop_rle_masks) {
  using namespace kseg;
  const View<float, 3> output = call.array<float, 3>(4);
  return crop_rle_masks_cuda(call.array<const int32_t, 1>(0), call.array<const int64_t, 1>(1), image_size_of(call),
                             boxes_of(call, 2), options_of(call, output), output, call.context());
}

// coordinates, polygon splits, mask splits, boxes, mask_indices -> crops; sampling_ratio, aligned, height, width
KSEG_HARNESS(crop_polygon_masks) {
  using namespace kseg;
  return call.visit_dtype<float, double>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const View<float, 3> output = call.array<float, 3>(5);
    return crop_polygon_masks_cuda<T>(call.array<const T, 1>(0), call.array<const int64_t, 1>(1),
                                      call.array<const int64_t, 1>(2), image_size_of(call), boxes_of(call, 3),
                                      options_of(call, output), output, call.context());
  });
}
