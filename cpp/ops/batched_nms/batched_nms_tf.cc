#include "ops/batched_nms/batched_nms.h"
#include "ops/batched_nms/batched_nms_check.h"

#include <string>

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/batched_nms/batched_nms_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

template <class Context>
absl::Status get_attributes(Context* context, BatchedNmsOptions* options) {
  std::string method;
  TF_RETURN_IF_ERROR(context->GetAttr("iou_threshold", &options->iou_threshold));
  TF_RETURN_IF_ERROR(context->GetAttr("score_threshold", &options->score_threshold));
  TF_RETURN_IF_ERROR(context->GetAttr("max_output_size", &options->max_output_size));
  TF_RETURN_IF_ERROR(context->GetAttr("max_per_class", &options->max_per_class));
  TF_RETURN_IF_ERROR(context->GetAttr("class_agnostic", &options->class_agnostic));
  TF_RETURN_IF_ERROR(context->GetAttr("sigma", &options->sigma));
  TF_RETURN_IF_ERROR(context->GetAttr("method", &method));
  TF_RETURN_IF_ERROR(to_absl(parse_nms_method(method, &options->method)));
  return to_absl(check_batched_nms_options(*options));
}

absl::Status infer_shape(InferenceContext* context) {
  BatchedNmsOptions options;
  TF_RETURN_IF_ERROR(get_attributes(context, &options));
  ShapeHandle boxes = context->input(0);
  ShapeHandle scores = context->input(1);
  ShapeHandle class_ids;
  DimensionHandle images = context->UnknownDim();
  DimensionHandle rows = context->UnknownDim();
  DimensionHandle four, merged;
  TF_RETURN_IF_ERROR(context->WithRankAtLeast(boxes, 3, &boxes));
  TF_RETURN_IF_ERROR(context->WithRankAtMost(boxes, 4, &boxes));
  TF_RETURN_IF_ERROR(context->WithRankAtLeast(scores, 2, &scores));
  TF_RETURN_IF_ERROR(context->WithRankAtMost(scores, 3, &scores));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 2, &class_ids));
  if (context->RankKnown(scores)) {
    images = context->Dim(scores, 0);
    rows = context->Dim(scores, 1);
  }
  if (context->RankKnown(boxes)) {
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(boxes, 0), images, &images));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(boxes, 1), rows, &rows));
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, -1), 4, &four));
    const bool both = context->Rank(boxes) == 4 && context->RankKnown(scores) && context->Rank(scores) == 3;
    const DimensionHandle sets = context->Dim(boxes, 2);
    if (both && context->ValueKnown(sets) && context->Value(sets) != 1) {
      TF_RETURN_IF_ERROR(context->Merge(sets, context->Dim(scores, 2), &merged));
    }
  }
  const DimensionHandle id_images = context->Dim(class_ids, 0);
  const DimensionHandle id_rows = context->Dim(class_ids, 1);
  const bool given = (context->ValueKnown(id_images) && context->Value(id_images) != 0) ||
                     (context->ValueKnown(id_rows) && context->Value(id_rows) != 0);
  if (given) {
    TF_RETURN_IF_ERROR(context->Merge(id_images, images, &images));
    TF_RETURN_IF_ERROR(context->Merge(id_rows, rows, &merged));
  }
  const DimensionHandle room = context->MakeDim(options.max_output_size);
  context->set_output(0, context->MakeShape({images, room, context->MakeDim(4)}));
  for (const int output : {1, 2, 3}) context->set_output(output, context->Matrix(images, room));
  context->set_output(4, context->Vector(images));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>BatchedNms")
    .Input("boxes: float")
    .Input("scores: float")
    .Input("class_ids: int32")
    .Output("kept_boxes: float")
    .Output("kept_scores: float")
    .Output("kept_classes: int32")
    .Output("kept_indices: int32")
    .Output("num_valid: int32")
    .Attr("iou_threshold: float")
    .Attr("score_threshold: float")
    .Attr("max_output_size: int")
    .Attr("max_per_class: int = -1")
    .Attr("class_agnostic: bool = false")
    .Attr("sigma: float = 0.5")
    .Attr("method: string = 'hard'")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
The best boxes of each image after suppression: boxes [B, N, 4] or [B, N, C, 4], scores [B, N] or [B, N, C].
)doc");

// With an axis of length 1 inserted before the last one, or as the last one.
absl::Status view_boxes(const Tensor& tensor, View<const float, 4>* view) {
  if (tensor.dims() == 3) {
    *view = {tensor.flat<float>().data(), {tensor.dim_size(0), tensor.dim_size(1), 1, tensor.dim_size(2)}};
    return absl::OkStatus();
  }
  if (tensor.dims() != 4) {
    return to_absl(invalid_argument("boxes must have rank 3 or 4, got shape ", tensor.shape().DebugString()));
  }
  *view = view_of<float, 4>(tensor);
  return absl::OkStatus();
}
absl::Status view_scores(const Tensor& tensor, View<const float, 3>* view) {
  if (tensor.dims() == 2) {
    *view = {tensor.flat<float>().data(), {tensor.dim_size(0), tensor.dim_size(1), 1}};
    return absl::OkStatus();
  }
  if (tensor.dims() != 3) {
    return to_absl(invalid_argument("scores must have rank 2 or 3, got shape ", tensor.shape().DebugString()));
  }
  *view = view_of<float, 3>(tensor);
  return absl::OkStatus();
}

template <class Device>
class BatchedNmsOp final : public NativeOp {
 public:
  explicit BatchedNmsOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &options_));
  }

  void compute(OpKernelContext* context) const override {
    BatchedNmsArgs args;
    args.options = options_;
    OP_REQUIRES_OK(context, view_boxes(context->input(0), &args.boxes));
    OP_REQUIRES_OK(context, view_scores(context->input(1), &args.scores));
    OP_REQUIRES_OK(context, check_rank(context->input(2), 2, "class_ids"));
    args.class_ids = view_of<int32_t, 2>(context->input(2));
    OP_REQUIRES_OK(context, to_absl(check_batched_nms(args)));
    const int64_t images = args.scores.shape[0];
    const int64_t room = options_.max_output_size;
    Tensor *boxes = nullptr, *scores = nullptr, *classes = nullptr, *indices = nullptr, *num_valid = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, TensorShape({images, room, 4}), &boxes));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({images, room}), &scores));
    OP_REQUIRES_OK(context, context->allocate_output(2, TensorShape({images, room}), &classes));
    OP_REQUIRES_OK(context, context->allocate_output(3, TensorShape({images, room}), &indices));
    OP_REQUIRES_OK(context, context->allocate_output(4, TensorShape({images}), &num_valid));
    args.out_boxes = boxes->flat<float>().data();
    args.out_scores = scores->flat<float>().data();
    args.out_classes = classes->flat<int32_t>().data();
    args.out_indices = indices->flat<int32_t>().data();
    args.num_valid = num_valid->flat<int32_t>().data();
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context, [&](const ParallelFor& parallel_for) { return batched_nms(args, parallel_for); },
                       [&](const auto& cuda) {
                         return batched_nms_cuda(args, nms_plan(images, args.scores.shape[1] * args.scores.shape[2]),
                                                 cuda);
                       }));
  }

 private:
  BatchedNmsOptions options_;
};

REGISTER_KERNEL_BUILDER(Name("Kseg>BatchedNms").Device(tensorflow::DEVICE_CPU), BatchedNmsOp<OnCpu>);
#if KSEG_CUDA
REGISTER_KERNEL_BUILDER(Name("Kseg>BatchedNms").Device(tensorflow::DEVICE_GPU), BatchedNmsOp<OnGpu>);
#endif

}  // namespace
}  // namespace kseg
