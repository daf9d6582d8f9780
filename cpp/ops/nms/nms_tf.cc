#include "ops/nms/nms.h"
#include "ops/nms/nms_check.h"

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/nms/nms_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

template <class Context>
absl::Status get_attributes(Context* context, NmsArgs* args) {
  TF_RETURN_IF_ERROR(context->GetAttr("iou_threshold", &args->iou_threshold));
  TF_RETURN_IF_ERROR(context->GetAttr("score_threshold", &args->score_threshold));
  TF_RETURN_IF_ERROR(context->GetAttr("max_output_size", &args->max_output_size));
  return to_absl(check_nms_thresholds(args->iou_threshold, args->score_threshold));
}

absl::Status infer_shape(InferenceContext* context) {
  NmsArgs args;
  TF_RETURN_IF_ERROR(get_attributes(context, &args));
  ShapeHandle boxes, scores, class_ids;
  DimensionHandle four, count;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 2, &boxes));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 1, &scores));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(2), 1, &class_ids));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(boxes, 1), 4, &four));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(boxes, 0), context->Dim(scores, 0), &count));
  const DimensionHandle ids = context->Dim(class_ids, 0);
  if (context->ValueKnown(ids) && context->Value(ids) != 0) TF_RETURN_IF_ERROR(context->Merge(ids, count, &count));
  context->set_output(0, context->Vector(context->UnknownDim()));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>Nms")
    .Input("boxes: float")
    .Input("scores: float")
    .Input("class_ids: int32")
    .Output("kept: int32")
    .Attr("iou_threshold: float")
    .Attr("score_threshold: float")
    .Attr("max_output_size: int = -1")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Indices of the boxes [N, 4] (x1 y1 x2 y2) that no better one of their class suppresses, best first.
)doc");

template <class Device>
class NmsOp final : public NativeOp {
 public:
  explicit NmsOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    OP_REQUIRES_OK(context, check_rank(context->input(0), 2, "boxes"));
    OP_REQUIRES_OK(context, check_rank(context->input(1), 1, "scores"));
    OP_REQUIRES_OK(context, check_rank(context->input(2), 1, "class_ids"));
    NmsArgs args = attributes_;
    args.boxes = view_of<float, 2>(context->input(0));
    args.scores = view_of<float, 1>(context->input(1));
    args.class_ids = view_of<int32_t, 1>(context->input(2));
    OP_REQUIRES_OK(context, to_absl(check_nms(args)));
    const int64_t rows = args.boxes.shape[0];
    const int64_t places = args.max_output_size < 0 || args.max_output_size > rows ? rows : args.max_output_size;
    Tensor kept;
    OP_REQUIRES_OK(context, context->allocate_temp(tensorflow::DT_INT32, TensorShape({places}), &kept));
    const auto to = mutable_view_of<int32_t, 1>(&kept);
    int64_t count = 0;
    OP_REQUIRES_OK(
        context, run_on<Device>(
                     context, [&](const ParallelFor& parallel_for) { return nms(args, to.data, &count, parallel_for); },
                     [&](const auto& cuda) {
                       int32_t* found = nullptr;
                       KSEG_RETURN_IF_ERROR(cuda.scratch->allocate(1, &found));
                       KSEG_RETURN_IF_ERROR(nms_cuda(args, to, found, nms_plan(1, rows), cuda));
                       return read_kept_count_cuda(found, &count, cuda);
                     }));
    context->set_output(0, kept.Slice(0, count));
  }

 private:
  NmsArgs attributes_;
};

REGISTER_KERNEL_BUILDER(Name("Kseg>Nms").Device(tensorflow::DEVICE_CPU), NmsOp<OnCpu>);
#if KSEG_CUDA
REGISTER_KERNEL_BUILDER(Name("Kseg>Nms").Device(tensorflow::DEVICE_GPU), NmsOp<OnGpu>);
#endif

}  // namespace
}  // namespace kseg
