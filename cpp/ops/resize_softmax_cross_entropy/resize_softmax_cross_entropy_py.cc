#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"

#include <optional>

#include "adapters/numpy_adapter.h"

#include <pybind11/stl.h>

namespace kseg {
namespace {

// What both directions take, kept alive.
struct Inputs {
  py::array labels_array, logits_array, weights_array;
  std::vector<float> class_weights;
  ResizeLabels labels;
  ResizeSoftmaxOptions options;
  bool dice = false;
  View<const float, 3> pixel_weights;

  Inputs(const py::array& labels_in, const py::array& logits_in, std::optional<int64_t> ignore_index,
         std::optional<std::vector<float>> weights, float label_smoothing, bool align_corners,
         std::optional<py::array> pixel_weights_in)
      : labels_array(dense(labels_in)), logits_array(dense(logits_in)) {
    labels = visit_dtype<uint8_t, int8_t, uint16_t, int32_t, int64_t>(labels_array, "labels", [&](auto tag) {
      using L = typename decltype(tag)::type;
      const auto view = view_of<L, 3>(labels_array, "labels");
      return ResizeLabels::of(view.data, view.shape);
    });
    options.has_ignore_index = ignore_index.has_value();
    options.ignore_index = ignore_index.value_or(0);
    if (weights) {
      if (weights->empty()) throw py::value_error("class_weights must have one entry per class, got none");
      class_weights = *std::move(weights);
    }
    options.class_weights = class_weights.data();
    options.class_weight_count = static_cast<int64_t>(class_weights.size());
    options.label_smoothing = label_smoothing;
    options.align_corners = align_corners;
    dice = pixel_weights_in.has_value();
    if (dice) {
      weights_array = dense(*pixel_weights_in);
      pixel_weights = view_of<float, 3>(weights_array, "pixel_weights");
    }
  }

  template <class T, class Args>
  void fill(Args* args) const {
    args->labels = labels;
    args->logits = view_of<T, 4>(logits_array, "logits");
    args->options = options;
    args->dice = dice;
    args->pixel_weights = pixel_weights;
    raise_if_error(
        check_resize_softmax_arrays(labels.shape, args->logits.shape, options, dice ? &pixel_weights.shape : nullptr));
  }
};

py::object loss_numpy(const py::array& labels, const py::array& logits, std::optional<int64_t> ignore_index,
                      std::optional<std::vector<float>> class_weights, float label_smoothing, bool align_corners,
                      std::optional<py::array> pixel_weights) {
  const Inputs inputs(labels, logits, ignore_index, std::move(class_weights), label_smoothing, align_corners,
                      std::move(pixel_weights));
  return visit_dtype<float, Half, BFloat16>(inputs.logits_array, "logits", [&](auto tag) -> py::object {
    using T = typename decltype(tag)::type;
    ResizeSoftmaxArgs<T> args;
    inputs.fill<T>(&args);
    auto [loss, loss_view] = new_array<float, 3>(inputs.labels.shape);
    args.loss = loss_view;
    py::array sums;
    if (inputs.dice) {
      auto [array, view] =
          new_array<float, 3>({args.logits.shape[0], kDiceSums, resize_softmax_classes(args.logits.shape[3])});
      sums = array;
      args.sums = view;
    }
    run_kernel([&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy(args, parallel_for); });
    if (!inputs.dice) return std::move(loss);
    return py::make_tuple(loss, sums);
  });
}

py::array gradient_numpy(const py::array& labels, const py::array& logits, const py::array& loss_gradient,
                         std::optional<int64_t> ignore_index, std::optional<std::vector<float>> class_weights,
                         float label_smoothing, bool align_corners, std::optional<py::array> pixel_weights,
                         std::optional<py::array> sums_gradient) {
  const Inputs inputs(labels, logits, ignore_index, std::move(class_weights), label_smoothing, align_corners,
                      std::move(pixel_weights));
  if (inputs.dice != sums_gradient.has_value()) {
    throw py::value_error("pixel_weights and sums_gradient must be given together");
  }
  const py::array given = dense(loss_gradient);
  const py::array sums_given = inputs.dice ? dense(*sums_gradient) : py::array();
  return visit_dtype<float, Half, BFloat16>(inputs.logits_array, "logits", [&](auto tag) {
    using T = typename decltype(tag)::type;
    ResizeSoftmaxGradArgs<T> args;
    inputs.fill<T>(&args);
    args.loss_gradient = view_of<float, 3>(given, "loss_gradient");
    if (inputs.dice) args.sums_gradient = view_of<float, 3>(sums_given, "sums_gradient");
    auto [gradient, view] = new_array<T, 4>(inputs.logits_array.dtype(), args.logits.shape);
    args.logits_gradient = view;
    run_kernel([&](const ParallelFor& parallel_for) { return resize_softmax_cross_entropy_grad(args, parallel_for); });
    return py::array(gradient);
  });
}

int64_t scratch_bytes_numpy(const Shape<3>& labels_shape, const Shape<4>& logits_shape, bool gradient, bool dice,
                            int64_t threads) {
  constexpr int64_t kMostThreads = 256;
  constexpr double kMostElements = static_cast<double>(int64_t{1} << 56);  // a few times this fits int64
  double elements = 1;
  for (const int64_t extent : logits_shape) {
    if (extent < 0) throw py::value_error("logits_shape must not be negative, got " + to_string<4>(logits_shape));
    elements *= static_cast<double>(extent);
  }
  for (const int64_t extent : labels_shape) {
    if (extent < 0) throw py::value_error("labels_shape must not be negative, got " + to_string<3>(labels_shape));
  }
  raise_if_error(check_resize_softmax_arrays(labels_shape, logits_shape, ResizeSoftmaxOptions(), nullptr));
  if (elements > kMostElements) {
    throw py::value_error("logits_shape must have at most 2**56 elements, got " + to_string<4>(logits_shape));
  }
  if (threads < 1 || threads > kMostThreads) {
    throw py::value_error("threads must be in 1.." + std::to_string(kMostThreads) + ", got " + std::to_string(threads));
  }
  return resize_softmax_scratch_bytes(labels_shape, logits_shape, gradient, dice, static_cast<int>(threads));
}

}  // namespace

void bind_resize_softmax_cross_entropy(py::module_& module) {
  module.def("resize_softmax_cross_entropy", &loss_numpy, py::arg("labels"), py::arg("logits"),
             py::arg("ignore_index") = 255, py::arg("class_weights") = py::none(), py::arg("label_smoothing") = 0.0f,
             py::arg("align_corners") = false, py::arg("pixel_weights") = py::none(),
             "Softmax cross-entropy float32 [B, H, W] of integer labels [B, H, W] and logits [B, h, w, C] (float32,\n"
             "float16 or bfloat16) resized bilinearly. With pixel_weights (float32, rank 3, extents of labels or 1)\n"
             "also the Dice sums [B, 3, C]: overlap, predicted, labelled.");
  module.def("resize_softmax_cross_entropy_grad", &gradient_numpy, py::arg("labels"), py::arg("logits"),
             py::arg("loss_gradient"), py::arg("ignore_index") = 255, py::arg("class_weights") = py::none(),
             py::arg("label_smoothing") = 0.0f, py::arg("align_corners") = false, py::arg("pixel_weights") = py::none(),
             py::arg("sums_gradient") = py::none(),
             "The gradient of resize_softmax_cross_entropy with respect to the logits, in their dtype.");
  module.def("resize_softmax_scratch_bytes", &scratch_bytes_numpy, py::arg("labels_shape"), py::arg("logits_shape"),
             py::arg("gradient"), py::arg("dice"), py::arg("threads"),
             "Bytes that resize_softmax_cross_entropy takes beside its arguments and results.");
}

}  // namespace kseg
