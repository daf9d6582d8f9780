#include "ops/connected_components/connected_components.h"
#include "ops/connected_components/connected_components_check.h"

#include "adapters/numpy_adapter.h"

namespace kseg {
namespace {

py::tuple connected_components_numpy(const py::array& masks, int64_t connectivity) {
  const py::array array = dense(masks);
  ConnectedComponentsArgs args;
  args.masks = view_of<uint8_t, 3>(array, "masks");
  raise_if_error(check_connected_components(args.masks.shape, connectivity, &args.connectivity));
  auto [labels, labels_view] = new_array<int32_t, 3>(args.masks.shape);
  auto [counts, counts_view] = new_array<int32_t, 1>({args.masks.shape[0]});
  args.labels = labels_view;
  args.counts = counts_view;
  run_kernel([&](const ParallelFor& parallel_for) { return connected_components(args, parallel_for); });
  return py::make_tuple(labels, counts);
}

}  // namespace

void bind_connected_components(py::module_& module) {
  module.def("connected_components", &connected_components_numpy, py::arg("masks"), py::arg("connectivity") = 8,
             "Connected components of the nonzero pixels of uint8 masks [N, H, W] -> (labels int32 [N, H, W], counts\n"
             "int32 [N]). Labels are 1 and up in raster order of each component's first pixel; 0 is background.");
}

}  // namespace kseg
