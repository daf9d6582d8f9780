#include "ops/crop_masks/crop_masks.h"

#include <utility>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

using Pair = std::pair<int64_t, int64_t>;

// What all forms of masks have in common.
struct Arguments {
  py::array boxes;
  py::array indices;
  CropBoxes views;
  CropMasksOptions options;
  CropImageSize image_size;

  Arguments(const py::array& boxes_array, const py::array& indices_array, Pair size, Pair image, int64_t sampling_ratio,
            bool aligned)
      : boxes(dense(boxes_array)), indices(dense(indices_array)), image_size{image.first, image.second} {
    views.boxes = view_of<float, 2>(boxes, "boxes");
    views.mask_indices = view_of<int32_t, 1>(indices, "mask_indices");
    options.aligned = aligned;
    options.height = size.first;
    options.width = size.second;
    raise_if_error(check_crop_masks(size.first, size.second, sampling_ratio, &options.sampling_ratio));
    raise_if_error(check_crop_count(views.boxes.shape[0], options));
  }

  // Calls crop(output, parallel_for).
  template <class Crop>
  py::array run(const Crop& crop) const {
    auto [array, view] = new_array<float, 3>({views.boxes.shape[0], options.height, options.width});
    const View<float, 3> to = view;
    run_kernel([&](const ParallelFor& parallel_for) { return crop(to, parallel_for); });
    return array;
  }
};

py::array crop_dense(const py::array& masks, bool packed, const py::array& boxes, const py::array& mask_indices,
                     Pair size, Pair image_size, int64_t sampling_ratio, bool aligned) {
  const Arguments arguments(boxes, mask_indices, size, image_size, sampling_ratio, aligned);
  const py::array from = dense(masks);
  const auto view = view_of<uint8_t, 3>(from, "masks");
  return arguments.run([&](const View<float, 3>& output, const ParallelFor& parallel_for) {
    return crop_dense_masks(view, packed, arguments.image_size, arguments.views, arguments.options, output,
                            parallel_for);
  });
}

py::array crop_rle(const py::array& counts, const py::array& mask_splits, const py::array& boxes,
                   const py::array& mask_indices, Pair size, Pair image_size, int64_t sampling_ratio, bool aligned) {
  const Arguments arguments(boxes, mask_indices, size, image_size, sampling_ratio, aligned);
  const py::array from = dense(counts), splits = dense(mask_splits);
  const auto counts_view = view_of<int32_t, 1>(from, "masks");
  const auto splits_view = view_of<int64_t, 1>(splits, "mask_splits");
  return arguments.run([&](const View<float, 3>& output, const ParallelFor& parallel_for) {
    return crop_rle_masks(counts_view, splits_view, arguments.image_size, arguments.views, arguments.options, output,
                          parallel_for);
  });
}

py::array crop_polygon(const py::array& coordinates, const py::array& polygon_splits, const py::array& mask_splits,
                       const py::array& boxes, const py::array& mask_indices, Pair size, Pair image_size,
                       int64_t sampling_ratio, bool aligned) {
  const Arguments arguments(boxes, mask_indices, size, image_size, sampling_ratio, aligned);
  const py::array from = dense(coordinates), inner = dense(polygon_splits), outer = dense(mask_splits);
  const auto inner_view = view_of<int64_t, 1>(inner, "polygon_splits");
  const auto outer_view = view_of<int64_t, 1>(outer, "mask_splits");
  return visit_dtype<float, double>(from, "masks", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto view = view_of<T, 1>(from, "masks");
    return arguments.run([&](const View<float, 3>& output, const ParallelFor& parallel_for) {
      return crop_polygon_masks<T>(view, inner_view, outer_view, arguments.image_size, arguments.views,
                                   arguments.options, output, parallel_for);
    });
  });
}

}  // namespace

void bind_crop_masks(py::module_& module) {
  module.def("crop_masks", &crop_dense, py::arg("masks"), py::arg("packed"), py::arg("boxes"), py::arg("mask_indices"),
             py::arg("size"), py::arg("image_size"), py::arg("sampling_ratio") = 0, py::arg("aligned") = false,
             "Masks uint8 [M, H, W], or packed [M, H, ceil(W / 8)]; boxes float32 [K, 4]; mask_indices int32 [K], -1\n"
             "for none; size (h, w) of a crop -> float32 [K, h, w].");
  module.def("crop_masks_rle", &crop_rle, py::arg("counts"), py::arg("mask_splits"), py::arg("boxes"),
             py::arg("mask_indices"), py::arg("size"), py::arg("image_size"), py::arg("sampling_ratio") = 0,
             py::arg("aligned") = false, "The same of run lengths int32 with the splits of masks, int64 [M + 1].");
  module.def(
      "crop_masks_polygon", &crop_polygon, py::arg("coordinates"), py::arg("polygon_splits"), py::arg("mask_splits"),
      py::arg("boxes"), py::arg("mask_indices"), py::arg("size"), py::arg("image_size"), py::arg("sampling_ratio") = 0,
      py::arg("aligned") = false,
      "The same of polygons: coordinates float32 or float64, int64 splits into polygons and of these into masks.");
}

}  // namespace kseg
