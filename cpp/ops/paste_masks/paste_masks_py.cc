#include "ops/paste_masks/paste_masks.h"

#include <algorithm>
#include <string>
#include <utility>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

PasteOptions options_of(std::pair<int64_t, int64_t> image_size, const std::string& mode, double threshold) {
  PasteOptions options;
  raise_if_error(make_paste_options(mode, threshold, &options));
  options.height = image_size.first;
  options.width = image_size.second;
  return options;
}

py::array paste_masks_numpy(const py::array& masks, const py::array& boxes, std::pair<int64_t, int64_t> image_size,
                            const std::string& mode, double threshold, bool packed) {
  const PasteOptions options = options_of(image_size, mode, threshold);
  const py::array from = dense(masks), corners = dense(boxes);
  const auto corners_view = view_of<float, 2>(corners, "boxes");
  return visit_dtype<float, Half, BFloat16>(from, "masks", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto view = view_of<T, 3>(from, "masks");
    if (options.width < 0) raise_if_error(check_paste_masks(view.shape, corners_view.shape, options, 0));
    const int64_t row_bytes = packed ? (options.width + 7) / 8 : options.width;
    raise_if_error(check_paste_masks(view.shape, corners_view.shape, options, row_bytes));
    auto [output, output_view] = new_array<uint8_t, 3>({view.shape[0], options.height, row_bytes});
    const View<uint8_t, 3> to = output_view;
    run_kernel([&](const ParallelFor& parallel_for) {
      return paste_masks<T>(view, corners_view, options, packed, to, parallel_for);
    });
    return py::array(output);
  });
}

py::tuple paste_masks_rle_numpy(const py::array& masks, const py::array& boxes, std::pair<int64_t, int64_t> image_size,
                                const std::string& mode, double threshold) {
  const PasteOptions options = options_of(image_size, mode, threshold);
  const py::array from = dense(masks), corners = dense(boxes);
  const auto corners_view = view_of<float, 2>(corners, "boxes");
  PastedRuns runs;
  visit_dtype<float, Half, BFloat16>(from, "masks", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto view = view_of<T, 3>(from, "masks");
    run_kernel([&](const ParallelFor& parallel_for) {
      return paste_masks_rle<T>(view, corners_view, options, &runs, parallel_for);
    });
  });
  auto [counts, counts_view] = new_array<int32_t, 1>({static_cast<int64_t>(runs.counts.size())});
  auto [splits, splits_view] = new_array<int64_t, 1>({static_cast<int64_t>(runs.splits.size())});
  std::copy(runs.counts.begin(), runs.counts.end(), counts_view.data);
  std::copy(runs.splits.begin(), runs.splits.end(), splits_view.data);
  return py::make_tuple(counts, splits);
}

}  // namespace

void bind_paste_masks(py::module_& module) {
  module.def("paste_masks", &paste_masks_numpy, py::arg("masks"), py::arg("boxes"), py::arg("image_size"),
             py::arg("mode") = "detectron2", py::arg("threshold") = 0.5, py::arg("packed") = false,
             "Pastes masks [N, h, w] (float32, float16 or bfloat16) into their boxes float32 [N, 4] of an image of\n"
             "size (H, W) -> uint8 [N, H, W] of 0 and 1, or [N, H, ceil(W / 8)] bits.");
  module.def("paste_masks_rle", &paste_masks_rle_numpy, py::arg("masks"), py::arg("boxes"), py::arg("image_size"),
             py::arg("mode") = "detectron2", py::arg("threshold") = 0.5,
             "As paste_masks -> (counts int32, splits int64 [N + 1]): the run lengths of mask i, by columns and\n"
             "beginning with zeros, are counts[splits[i]:splits[i + 1]].");
}

}  // namespace kseg
