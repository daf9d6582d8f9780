#include "ops/mask_nms/mask_nms.h"
#include "ops/mask_nms/mask_nms_check.h"

#include <string>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/mask_nms/mask_nms_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

template <class Context>
absl::Status get_options(Context* context, MaskNmsOptions* options) {
  std::string kind;
  float iou_threshold, score_threshold, sigma;
  bool has_score_threshold;
  int64_t max_output_size, width;
  TF_RETURN_IF_ERROR(context->GetAttr("kind", &kind));
  TF_RETURN_IF_ERROR(context->GetAttr("iou_threshold", &iou_threshold));
  TF_RETURN_IF_ERROR(context->GetAttr("score_threshold", &score_threshold));
  TF_RETURN_IF_ERROR(context->GetAttr("has_score_threshold", &has_score_threshold));
  TF_RETURN_IF_ERROR(context->GetAttr("sigma", &sigma));
  TF_RETURN_IF_ERROR(context->GetAttr("max_output_size", &max_output_size));
  TF_RETURN_IF_ERROR(context->GetAttr("width", &width));
  return to_absl(make_mask_nms_options(kind, iou_threshold, score_threshold, has_score_threshold, sigma,
                                       max_output_size, width, options));
}

absl::Status infer_shape(InferenceContext* context) {
  MaskNmsOptions options;
  TF_RETURN_IF_ERROR(get_options(context, &options));
  ShapeHandle masks, scores, class_ids, boxes, pairs;
  DimensionHandle bytes, four;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 4, &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 2, &scores));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 2, &class_ids));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(3), 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 2), 4, &four));
  TF_RETURN_IF_ERROR(context->Merge(scores, class_ids, &scores));
  TF_RETURN_IF_ERROR(context->Subshape(masks, 0, 2, &pairs));
  TF_RETURN_IF_ERROR(context->Merge(scores, pairs, &scores));
  if (options.width >= 0) {
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(masks, 3), (options.width + 7) / 8, &bytes));
  }
  const DimensionHandle batch = context->Dim(scores, 0);
  const DimensionHandle size =
      options.max_output_size < 0 ? context->Dim(scores, 1) : context->MakeDim(options.max_output_size);
  context->set_output(0, context->Matrix(batch, size));
  context->set_output(1, context->Matrix(batch, size));
  context->set_output(2, context->Vector(batch));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>MaskNms")
    .Input("masks: T")
    .Input("scores: float")
    .Input("class_ids: int32")
    .Input("boxes: float")
    .Output("indices: int32")
    .Output("kept_scores: float")
    .Output("num_valid: int32")
    .Attr("T: {bool, uint8}")
    .Attr("max_output_size: int >= -1")
    .Attr("kind: string = 'hard'")
    .Attr("iou_threshold: float = 0.5")
    .Attr("score_threshold: float = 0.0")
    .Attr("has_score_threshold: bool = false")
    .Attr("sigma: float = 0.5")
    .Attr("width: int = -1")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Non-maximum suppression of binary masks [B, N, H, W] by their overlap; results are padded to max_output_size.
Boxes [B, N, 4] (x1 y1 x2 y2) are one per mask, outside which nothing is set, or [0, 0, 4] for none.
)doc");

template <class Device>
class MaskNmsOp final : public NativeOp {
 public:
  explicit MaskNmsOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_options(context, &options_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& masks = context->input(0);
    OP_REQUIRES_OK(context, check_rank(masks, 4, "masks"));
    OP_REQUIRES_OK(context, check_rank(context->input(1), 2, "scores"));
    OP_REQUIRES_OK(context, check_rank(context->input(2), 2, "class_ids"));
    OP_REQUIRES_OK(context, check_rank(context->input(3), 3, "boxes"));
    OP_REQUIRES(context, options_.width < 0 || masks.dtype() == tensorflow::DT_UINT8,
                to_absl(invalid_argument("masks must be uint8 where width is given, got bool")));
    const MaskNmsInput input{{static_cast<const uint8_t*>(masks.data()), shape_of<4>(masks)},
                             view_of<float, 2>(context->input(1)),
                             view_of<int32_t, 2>(context->input(2)),
                             view_of<float, 3>(context->input(3))};
    MaskNmsOptions options = options_;
    if (options.max_output_size < 0) options.max_output_size = masks.dim_size(1);
    OP_REQUIRES_OK(context, to_absl(check_mask_nms(input, options)));
    const int64_t batch = masks.dim_size(0);
    Tensor* indices = nullptr;
    Tensor* scores = nullptr;
    Tensor* num_valid = nullptr;
    const TensorShape padded({batch, options.max_output_size});
    OP_REQUIRES_OK(context, context->allocate_output(0, padded, &indices));
    OP_REQUIRES_OK(context, context->allocate_output(1, padded, &scores));
    OP_REQUIRES_OK(context, context->allocate_output(2, TensorShape({batch}), &num_valid));
    const MaskNmsOutput output{mutable_view_of<int32_t, 2>(indices), mutable_view_of<float, 2>(scores),
                               mutable_view_of<int32_t, 1>(num_valid)};
    OP_REQUIRES_OK(
        context,
        run_on<Device>(
            context, [&](const ParallelFor& parallel_for) { return mask_nms(input, options, output, parallel_for); },
            [&](const auto& cuda) {
              return mask_nms_cuda(input, options, output, nms_plan(batch, masks.dim_size(1)), cuda);
            }));
  }

 private:
  MaskNmsOptions options_;
};

REGISTER_KERNEL_BUILDER(Name("Kseg>MaskNms").Device(tensorflow::DEVICE_CPU), MaskNmsOp<OnCpu>);
#if KSEG_CUDA
REGISTER_KERNEL_BUILDER(Name("Kseg>MaskNms").Device(tensorflow::DEVICE_GPU), MaskNmsOp<OnGpu>);
#endif

}  // namespace
}  // namespace kseg
