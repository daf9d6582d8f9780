#include "ops/crop_masks/crop_masks.h"

#include <vector>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/crop_masks/crop_masks_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

template <class Context>
absl::Status get_options(Context* context, CropMasksOptions* options) {
  std::vector<int64_t> size;
  int64_t sampling_ratio;
  TF_RETURN_IF_ERROR(context->GetAttr("size", &size));
  TF_RETURN_IF_ERROR(context->GetAttr("sampling_ratio", &sampling_ratio));
  TF_RETURN_IF_ERROR(context->GetAttr("aligned", &options->aligned));
  if (size.size() != 2) {
    return to_absl(invalid_argument("size must have two entries, height and width, got ", size.size()));
  }
  options->height = size[0];
  options->width = size[1];
  return to_absl(check_crop_masks(size[0], size[1], sampling_ratio, &options->sampling_ratio));
}

// `boxes`, `mask_indices` and `image_size` are the last three of the inputs, and those before have the given ranks.
absl::Status infer_shape(InferenceContext* context, const std::vector<int>& ranks) {
  CropMasksOptions options;
  TF_RETURN_IF_ERROR(get_options(context, &options));
  const int first = static_cast<int>(ranks.size());
  ShapeHandle masks, corners, indices, image_size;
  DimensionHandle four, two, boxes;
  for (int i = 0; i < first; ++i) TF_RETURN_IF_ERROR(context->WithRank(context->input(i), ranks[i], &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(first), 2, &corners));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(first + 1), 1, &indices));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(first + 2), 1, &image_size));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(corners, 1), 4, &four));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(image_size, 0), 2, &two));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(corners, 0), context->Dim(indices, 0), &boxes));
  context->set_output(0,
                      context->MakeShape({boxes, context->MakeDim(options.height), context->MakeDim(options.width)}));
  return absl::OkStatus();
}

#define KSEG_BOXES .Input("boxes: float").Input("mask_indices: int32").Input("image_size: int32")
#define KSEG_OUTPUT .Output("output: float").Attr("size: list(int)")
#define KSEG_SAMPLING .Attr("sampling_ratio: int = 0").Attr("aligned: bool = false")

REGISTER_OP("Kseg>CropMasks")
    .Input("masks: uint8") KSEG_BOXES KSEG_OUTPUT KSEG_SAMPLING.Attr("packed: bool = false")
    .SetShapeFn([](InferenceContext* context) { return infer_shape(context, {3}); })
    .Doc(R"doc(
Crops of masks [M, H, W], or packed [M, H, ceil(W / 8)], under boxes (x1 y1 x2 y2): [K, size[0], size[1]].
)doc");

REGISTER_OP("Kseg>CropMasksRle")
    .Input("counts: int32")
    .Input("mask_splits: int64") KSEG_BOXES KSEG_OUTPUT KSEG_SAMPLING
    .SetShapeFn([](InferenceContext* context) { return infer_shape(context, {1, 1}); })
    .Doc(R"doc(
The same of run-length encoded masks; mask_splits [M + 1] cut the run lengths into masks.
)doc");

REGISTER_OP("Kseg>CropMasksPolygon")
    .Input("coordinates: T")
    .Input("polygon_splits: int64")
    .Input("mask_splits: int64") KSEG_BOXES KSEG_OUTPUT KSEG_SAMPLING.Attr("T: {float, double}")
    .SetShapeFn([](InferenceContext* context) { return infer_shape(context, {1, 1, 1}); })
    .Doc(R"doc(
The same of polygons: polygon_splits cut the coordinates into polygons, mask_splits [M + 1] the polygons into masks.
)doc");

#undef KSEG_BOXES
#undef KSEG_OUTPUT
#undef KSEG_SAMPLING

class CropOp : public NativeOp {
 public:
  explicit CropOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_options(context, &options_));
  }

  void compute(OpKernelContext* context) const final {
    const int first = context->num_inputs() - 3;
    CropBoxes boxes;
    OP_REQUIRES_OK(context, check_rank(context->input(first), 2, "boxes"));
    OP_REQUIRES_OK(context, check_rank(context->input(first + 1), 1, "mask_indices"));
    OP_REQUIRES_OK(context, check_rank(context->input(first + 2), 1, "image_size"));
    boxes.boxes = view_of<float, 2>(context->input(first));
    boxes.mask_indices = view_of<int32_t, 1>(context->input(first + 1));
    const auto size = view_of<int32_t, 1>(context->input(first + 2));
    OP_REQUIRES(context, size.shape[0] == 2,
                to_absl(invalid_argument("image_size must have two entries, height and width, got ", size.shape[0])));
    OP_REQUIRES_OK(context, to_absl(check_crop_count(boxes.boxes.shape[0], options_)));
    TensorShape shape;
    OP_REQUIRES_OK(context,
                   TensorShape::BuildTensorShape({boxes.boxes.shape[0], options_.height, options_.width}, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    OP_REQUIRES_OK(context, crop(context, {size.data[0], size.data[1]}, boxes, mutable_view_of<float, 3>(output)));
  }

 protected:
  virtual absl::Status crop(OpKernelContext* context, const CropImageSize& image_size, const CropBoxes& boxes,
                            const View<float, 3>& output) const = 0;

  CropMasksOptions options_;
};

template <class Device>
class CropMasksOp final : public CropOp {
 public:
  explicit CropMasksOp(OpKernelConstruction* context) : CropOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("packed", &packed_));
  }

 protected:
  absl::Status crop(OpKernelContext* context, const CropImageSize& image_size, const CropBoxes& boxes,
                    const View<float, 3>& output) const override {
    TF_RETURN_IF_ERROR(check_rank(context->input(0), 3, "masks"));
    const auto masks = view_of<uint8_t, 3>(context->input(0));
    return run_on<Device>(
        context,
        [&](const ParallelFor& parallel_for) {
          return crop_dense_masks(masks, packed_, image_size, boxes, options_, output, parallel_for);
        },
        [&](const auto& cuda) {
          return crop_dense_masks_cuda(masks, packed_, image_size, boxes, options_, output, cuda);
        });
  }

 private:
  bool packed_ = false;
};

template <class Device>
class CropMasksRleOp final : public CropOp {
 public:
  using CropOp::CropOp;

 protected:
  absl::Status crop(OpKernelContext* context, const CropImageSize& image_size, const CropBoxes& boxes,
                    const View<float, 3>& output) const override {
    TF_RETURN_IF_ERROR(check_rank(context->input(0), 1, "counts"));
    TF_RETURN_IF_ERROR(check_rank(context->input(1), 1, "mask_splits"));
    const auto counts = view_of<int32_t, 1>(context->input(0));
    const auto splits = view_of<int64_t, 1>(context->input(1));
    return run_on<Device>(
        context,
        [&](const ParallelFor& parallel_for) {
          return crop_rle_masks(counts, splits, image_size, boxes, options_, output, parallel_for);
        },
        [&](const auto& cuda) {
          return crop_rle_masks_cuda(counts, splits, image_size, boxes, options_, output, cuda);
        });
  }
};

template <class T>
class CropMasksPolygonOp final : public CropOp {
 public:
  using CropOp::CropOp;

 protected:
  absl::Status crop(OpKernelContext* context, const CropImageSize& image_size, const CropBoxes& boxes,
                    const View<float, 3>& output) const override {
    TF_RETURN_IF_ERROR(check_rank(context->input(0), 1, "coordinates"));
    TF_RETURN_IF_ERROR(check_rank(context->input(1), 1, "polygon_splits"));
    TF_RETURN_IF_ERROR(check_rank(context->input(2), 1, "mask_splits"));
    return to_absl(crop_polygon_masks<T>(view_of<T, 1>(context->input(0)), view_of<int64_t, 1>(context->input(1)),
                                         view_of<int64_t, 1>(context->input(2)), image_size, boxes, options_, output,
                                         TfParallelFor(context)));
  }
};

REGISTER_KERNEL_BUILDER(Name("Kseg>CropMasks").Device(tensorflow::DEVICE_CPU), CropMasksOp<OnCpu>);
REGISTER_KERNEL_BUILDER(Name("Kseg>CropMasksRle").Device(tensorflow::DEVICE_CPU), CropMasksRleOp<OnCpu>);
REGISTER_KERNEL_BUILDER(Name("Kseg>CropMasksPolygon").Device(tensorflow::DEVICE_CPU).TypeConstraint<float>("T"),
                        CropMasksPolygonOp<float>);
REGISTER_KERNEL_BUILDER(Name("Kseg>CropMasksPolygon").Device(tensorflow::DEVICE_CPU).TypeConstraint<double>("T"),
                        CropMasksPolygonOp<double>);

#if KSEG_CUDA
REGISTER_KERNEL_BUILDER(Name("Kseg>CropMasks").Device(tensorflow::DEVICE_GPU).HostMemory("image_size"),
                        CropMasksOp<OnGpu>);
REGISTER_KERNEL_BUILDER(Name("Kseg>CropMasksRle").Device(tensorflow::DEVICE_GPU).HostMemory("image_size"),
                        CropMasksRleOp<OnGpu>);
#endif

}  // namespace
}  // namespace kseg
