#include "ops/mask_iou/mask_iou.h"
#include "ops/mask_iou/mask_iou_check.h"

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/mask_iou/mask_iou_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

absl::Status infer_shape(InferenceContext* context) {
  int64_t width;
  TF_RETURN_IF_ERROR(context->GetAttr("width", &width));
  if (width < kDenseMasks || width > kMaxMaskWidth) {
    return to_absl(invalid_argument("width must be in 0..", kMaxMaskWidth, " or -1, got ", width));
  }
  ShapeHandle a, b, crowd;
  DimensionHandle merged;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, &a));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 3, &b));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &crowd));
  for (const int axis : {1, 2}) {
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(a, axis), context->Dim(b, axis), &merged));
  }
  if (width != kDenseMasks) TF_RETURN_IF_ERROR(context->WithValue(merged, (width + 7) / 8, &merged));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(b, 0), context->Dim(crowd, 0), &merged));
  for (const int input : {3, 4}) {
    ShapeHandle boxes;
    DimensionHandle four;
    TF_RETURN_IF_ERROR(context->WithRank(context->input(input), 2, &boxes));
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 1), 4, &four));
  }
  context->set_output(0, context->Matrix(context->Dim(a, 0), merged));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>MaskIou")
    .Input("a: T")
    .Input("b: T")
    .Input("is_crowd: bool")
    .Input("boxes_a: float")
    .Input("boxes_b: float")
    .Output("iou: float")
    .Attr("T: {bool, uint8}")
    .Attr("width: int = -1")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Intersection over union of binary masks: [N, H, W] and [M, H, W], or bit-packed if width is not -1, give [N, M].
Boxes (x1 y1 x2 y2) are one per mask, outside which nothing is set, or [0, 4] for none.
)doc");

struct Argument {
  const Tensor& masks;
  const char* name;
  const Tensor& boxes;
  const char* boxes_name;
};

absl::Status stack_of(const Argument& argument, int64_t width, MaskStack* stack) {
  const auto& [masks, name, boxes, boxes_name] = argument;
  TF_RETURN_IF_ERROR(check_rank(masks, 3, name));
  TF_RETURN_IF_ERROR(check_rank(boxes, 2, boxes_name));
  if (width != kDenseMasks && masks.dtype() != tensorflow::DT_UINT8) {
    return to_absl(invalid_argument(name, " must be uint8 where width is given, got bool"));
  }
  const auto* const data = static_cast<const uint8_t*>(masks.data());
  TF_RETURN_IF_ERROR(to_absl(make_mask_stack(name, data, shape_of<3>(masks), width, stack)));
  return to_absl(set_mask_boxes(boxes_name, view_of<float, 2>(boxes), stack));
}

template <class Device>
class MaskIouOp final : public NativeOp {
 public:
  explicit MaskIouOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("width", &width_));
    OP_REQUIRES(context, width_ >= kDenseMasks && width_ <= kMaxMaskWidth,
                to_absl(invalid_argument("width must be in 0..", kMaxMaskWidth, " or -1, got ", width_)));
  }

  void compute(OpKernelContext* context) const override {
    MaskStack a, b;
    OP_REQUIRES_OK(context, stack_of({context->input(0), "a", context->input(3), "boxes_a"}, width_, &a));
    OP_REQUIRES_OK(context, stack_of({context->input(1), "b", context->input(4), "boxes_b"}, width_, &b));
    const Tensor& crowd = context->input(2);
    OP_REQUIRES_OK(context, check_rank(crowd, 1, "is_crowd"));
    OP_REQUIRES_OK(context, to_absl(check_mask_iou(a, b, crowd.dim_size(0))));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({a.count, b.count}), &output));
    const View<const uint8_t, 1> flags{static_cast<const uint8_t*>(crowd.data()), shape_of<1>(crowd)};
    const auto to = mutable_view_of<float, 2>(output);
    OP_REQUIRES_OK(
        context, run_on<Device>(
                     context, [&](const ParallelFor& parallel_for) { return mask_iou(a, b, flags, to, parallel_for); },
                     [&](const auto& cuda) { return mask_iou_cuda(a, b, flags, to, cuda); }));
  }

 private:
  int64_t width_;
};

REGISTER_KERNEL_BUILDER(Name("Kseg>MaskIou").Device(tensorflow::DEVICE_CPU), MaskIouOp<OnCpu>);
#if KSEG_CUDA
REGISTER_KERNEL_BUILDER(Name("Kseg>MaskIou").Device(tensorflow::DEVICE_GPU), MaskIouOp<OnGpu>);
#endif

}  // namespace
}  // namespace kseg
