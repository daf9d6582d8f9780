#include "ops/distance_transform/distance_transform.h"
#include "ops/distance_transform/distance_transform_check.h"

#include <utility>

#include "adapters/numpy_adapter.h"

namespace kseg {
namespace {

py::tuple distance_transform_numpy(const py::array& masks, const std::pair<double, double>& sampling, bool is_signed,
                                   bool return_indices) {
  const py::array array = dense(masks);
  DistanceTransformArgs args;
  args.masks = view_of<uint8_t, 3>(array, "masks");
  args.row_spacing = sampling.first;
  args.column_spacing = sampling.second;
  args.is_signed = is_signed;
  raise_if_error(check_distance_transform(args.masks.shape, args.row_spacing, args.column_spacing));
  const auto [images, height, width] = args.masks.shape;
  auto [distances, distances_view] = new_array<float, 3>(args.masks.shape);
  auto [indices, indices_view] =
      new_array<int32_t, 4>(return_indices ? Shape<4>{images, height, width, 2} : Shape<4>{0, 0, 0, 2});
  args.distances = distances_view;
  if (return_indices) args.indices = indices_view;
  run_kernel([&](const ParallelFor& parallel_for) { return distance_transform(args, parallel_for); });
  return py::make_tuple(distances, indices);
}

}  // namespace

void bind_distance_transform(py::module_& module) {
  module.def("distance_transform", &distance_transform_numpy, py::arg("masks"),
             py::arg("sampling") = std::pair<double, double>(1.0, 1.0), py::arg("signed") = false,
             py::arg("return_indices") = false,
             "Exact Euclidean distance of the nonzero pixels of uint8 masks [N, H, W] to the nearest zero pixel ->\n"
             "(distances float32 [N, H, W], indices int32 [N, H, W, 2] or without elements).");
}

}  // namespace kseg
