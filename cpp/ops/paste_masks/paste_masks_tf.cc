#include "ops/paste_masks/paste_masks.h"

#include <algorithm>
#include <string>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/paste_masks/paste_masks_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

template <class Context>
absl::Status get_options(Context* context, PasteOptions* options) {
  std::string mode;
  float threshold;
  TF_RETURN_IF_ERROR(context->GetAttr("mode", &mode));
  TF_RETURN_IF_ERROR(context->GetAttr("threshold", &threshold));
  return to_absl(make_paste_options(mode, threshold, options));
}

// Ranks and the number of masks.
absl::Status infer_count(InferenceContext* context, DimensionHandle* count) {
  PasteOptions options;
  TF_RETURN_IF_ERROR(get_options(context, &options));
  ShapeHandle masks, boxes, size;
  DimensionHandle known;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 2, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 1), 4, &known));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &size));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(size, 0), 2, &known));
  return context->Merge(context->Dim(masks, 0), context->Dim(boxes, 0), count);
}

absl::Status infer_shape(InferenceContext* context) {
  DimensionHandle count;
  ShapeHandle image;
  bool packed;
  TF_RETURN_IF_ERROR(infer_count(context, &count));
  TF_RETURN_IF_ERROR(context->GetAttr("packed", &packed));
  TF_RETURN_IF_ERROR(context->MakeShapeFromShapeTensor(2, &image));
  TF_RETURN_IF_ERROR(context->WithRank(image, 2, &image));
  DimensionHandle row = context->Dim(image, 1);
  if (packed) row = context->ValueKnown(row) ? context->MakeDim((context->Value(row) + 7) / 8) : context->UnknownDim();
  context->set_output(0, context->MakeShape({count, context->Dim(image, 0), row}));
  return absl::OkStatus();
}

absl::Status infer_rle_shape(InferenceContext* context) {
  DimensionHandle count, splits;
  TF_RETURN_IF_ERROR(infer_count(context, &count));
  TF_RETURN_IF_ERROR(context->Add(count, 1, &splits));
  context->set_output(0, context->Vector(context->UnknownDim()));
  context->set_output(1, context->Vector(splits));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>PasteMasks")
    .Input("masks: T")
    .Input("boxes: float")
    .Input("image_size: int32")
    .Output("pasted: uint8")
    .Attr("T: {float, half, bfloat16}")
    .Attr("mode: string = 'detectron2'")
    .Attr("threshold: float = 0.5")
    .Attr("packed: bool = false")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Resamples masks [N, h, w] into their boxes (x1 y1 x2 y2) of an image and thresholds: [N, H, W], or packed to bits.
)doc");

REGISTER_OP("Kseg>PasteMasksRle")
    .Input("masks: T")
    .Input("boxes: float")
    .Input("image_size: int32")
    .Output("counts: int32")
    .Output("row_splits: int64")
    .Attr("T: {float, half, bfloat16}")
    .Attr("mode: string = 'detectron2'")
    .Attr("threshold: float = 0.5")
    .SetShapeFn(infer_rle_shape)
    .Doc(R"doc(
As PasteMasks, but gives the run lengths of the columns of each mask, beginning with zeros.
)doc");

absl::Status get_image_size(const Tensor& size, PasteOptions* options) {
  if (size.dims() != 1 || size.dim_size(0) != 2) {
    return to_absl(
        invalid_argument("image_size must be two integers, height and width, got shape ", size.shape().DebugString()));
  }
  options->height = size.flat<int32_t>()(0);
  options->width = size.flat<int32_t>()(1);
  return absl::OkStatus();
}

template <class T, class Device>
class PasteMasksOp final : public NativeOp {
 public:
  explicit PasteMasksOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_options(context, &options_));
    OP_REQUIRES_OK(context, context->GetAttr("packed", &packed_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& masks = context->input(0);
    const Tensor& boxes = context->input(1);
    PasteOptions options = options_;
    OP_REQUIRES_OK(context, check_rank(masks, 3, "masks"));
    OP_REQUIRES_OK(context, check_rank(boxes, 2, "boxes"));
    OP_REQUIRES_OK(context, get_image_size(context->input(2), &options));
    const int64_t row_bytes = packed_ ? (std::max<int64_t>(options.width, 0) + 7) / 8 : options.width;
    OP_REQUIRES_OK(context, to_absl(check_paste_masks(shape_of<3>(masks), shape_of<2>(boxes), options, row_bytes)));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape({masks.dim_size(0), options.height, row_bytes}), &output));
    const auto from = view_of<T, 3>(masks);
    const auto corners = view_of<float, 2>(boxes);
    const auto to = mutable_view_of<uint8_t, 3>(output);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context,
                       [&](const ParallelFor& parallel_for) {
                         return paste_masks(from, corners, options, packed_, to, parallel_for);
                       },
                       [&](const auto& cuda) { return paste_masks_cuda(from, corners, options, packed_, to, cuda); }));
  }

 private:
  PasteOptions options_;
  bool packed_;
};

template <class T>
class PasteMasksRleOp final : public NativeOp {
 public:
  explicit PasteMasksRleOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_options(context, &options_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& masks = context->input(0);
    const Tensor& boxes = context->input(1);
    PasteOptions options = options_;
    OP_REQUIRES_OK(context, check_rank(masks, 3, "masks"));
    OP_REQUIRES_OK(context, check_rank(boxes, 2, "boxes"));
    OP_REQUIRES_OK(context, get_image_size(context->input(2), &options));
    PastedRuns runs;
    OP_REQUIRES_OK(context, to_absl(paste_masks_rle(view_of<T, 3>(masks), view_of<float, 2>(boxes), options, &runs,
                                                    TfParallelFor(context))));
    Tensor* counts = nullptr;
    Tensor* splits = nullptr;
    OP_REQUIRES_OK(context,
                   context->allocate_output(0, TensorShape({static_cast<int64_t>(runs.counts.size())}), &counts));
    OP_REQUIRES_OK(context,
                   context->allocate_output(1, TensorShape({static_cast<int64_t>(runs.splits.size())}), &splits));
    std::copy(runs.counts.begin(), runs.counts.end(), counts->flat<int32_t>().data());
    std::copy(runs.splits.begin(), runs.splits.end(), splits->flat<int64_t>().data());
  }

 private:
  PasteOptions options_;
};

#define KSEG_REGISTER(T)                                                                                         \
  REGISTER_KERNEL_BUILDER(                                                                                       \
      Name("Kseg>PasteMasks").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T").HostMemory("image_size"),    \
      PasteMasksOp<T, OnCpu>);                                                                                   \
  REGISTER_KERNEL_BUILDER(                                                                                       \
      Name("Kseg>PasteMasksRle").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T").HostMemory("image_size"), \
      PasteMasksRleOp<T>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

#if KSEG_CUDA
#define KSEG_REGISTER(T)                                                                                      \
  REGISTER_KERNEL_BUILDER(                                                                                    \
      Name("Kseg>PasteMasks").Device(tensorflow::DEVICE_GPU).TypeConstraint<T>("T").HostMemory("image_size"), \
      PasteMasksOp<T, OnGpu>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER
#endif

}  // namespace
}  // namespace kseg
