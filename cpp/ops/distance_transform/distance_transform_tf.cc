#include "ops/distance_transform/distance_transform.h"
#include "ops/distance_transform/distance_transform_check.h"

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/distance_transform/distance_transform_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

absl::Status infer_shape(InferenceContext* context) {
  bool return_indices;
  TF_RETURN_IF_ERROR(context->GetAttr("return_indices", &return_indices));
  ShapeHandle masks, sampling;
  DimensionHandle two;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, &masks));
  TF_RETURN_IF_ERROR(context->WithRank(context->input(1), 1, &sampling));
  TF_RETURN_IF_ERROR(context->WithValue(context->Dim(sampling, 0), 2, &two));
  context->set_output(0, masks);
  if (return_indices) {
    context->set_output(
        1, context->MakeShape({context->Dim(masks, 0), context->Dim(masks, 1), context->Dim(masks, 2), 2}));
  } else {
    context->set_output(1, context->MakeShape({0, 0, 0, 2}));
  }
  return absl::OkStatus();
}

REGISTER_OP("Kseg>DistanceTransform")
    .Input("masks: T")
    .Input("sampling: double")
    .Output("distances: float")
    .Output("indices: int32")
    .Attr("T: {bool, uint8, int8}")
    .Attr("signed: bool = false")
    .Attr("return_indices: bool = false")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Exact Euclidean distance of the nonzero pixels of masks [N, H, W] to the nearest zero pixel; indices [N, H, W, 2] hold the
row and column of that pixel, or have no elements if they are not asked for.
)doc");

template <class Device>
class DistanceTransformOp final : public NativeOp {
 public:
  explicit DistanceTransformOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("signed", &signed_));
    OP_REQUIRES_OK(context, context->GetAttr("return_indices", &return_indices_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& masks = context->input(0);
    const Tensor& sampling = context->input(1);
    OP_REQUIRES_OK(context, check_rank(masks, 3, "masks"));
    OP_REQUIRES_OK(context, check_rank(sampling, 1, "sampling"));
    OP_REQUIRES_OK(context,
                   sampling.NumElements() == 2
                       ? absl::OkStatus()
                       : to_absl(invalid_argument("sampling must have 2 elements, along rows and columns, got ",
                                                  sampling.NumElements())));
    DistanceTransformArgs args;
    args.masks = {reinterpret_cast<const uint8_t*>(masks.tensor_data().data()), shape_of<3>(masks)};
    args.row_spacing = sampling.vec<double>()(0);
    args.column_spacing = sampling.vec<double>()(1);
    args.is_signed = signed_;
    OP_REQUIRES_OK(context, to_absl(check_distance_transform(args.masks.shape, args.row_spacing, args.column_spacing)));
    TensorShape shape({0, 0, 0, 2});
    if (return_indices_) {
      OP_REQUIRES_OK(
          context, TensorShape::BuildTensorShape({masks.dim_size(0), masks.dim_size(1), masks.dim_size(2), 2}, &shape));
    }
    Tensor *distances = nullptr, *indices = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, masks.shape(), &distances));
    OP_REQUIRES_OK(context, context->allocate_output(1, shape, &indices));
    args.distances = mutable_view_of<float, 3>(distances);
    if (return_indices_) args.indices = mutable_view_of<int32_t, 4>(indices);
    OP_REQUIRES_OK(context,
                   run_on<Device>(
                       context, [&](const ParallelFor& parallel_for) { return distance_transform(args, parallel_for); },
                       [&](const auto& cuda) { return distance_transform_cuda(args, cuda); }));
  }

 private:
  bool signed_ = false;
  bool return_indices_ = false;
};

REGISTER_KERNEL_BUILDER(Name("Kseg>DistanceTransform").Device(tensorflow::DEVICE_CPU), DistanceTransformOp<OnCpu>);
#if KSEG_CUDA
REGISTER_KERNEL_BUILDER(Name("Kseg>DistanceTransform").Device(tensorflow::DEVICE_GPU).HostMemory("sampling"),
                        DistanceTransformOp<OnGpu>);
#endif

}  // namespace
}  // namespace kseg
