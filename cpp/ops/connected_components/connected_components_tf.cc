#include "ops/connected_components/connected_components.h"
#include "ops/connected_components/connected_components_check.h"

#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/connected_components/connected_components_cuda.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

absl::Status check_connectivity(int64_t connectivity) {
  int narrowed;
  return to_absl(check_connected_components({0, 0, 0}, connectivity, &narrowed));
}

absl::Status infer_shape(InferenceContext* context) {
  int64_t connectivity;
  TF_RETURN_IF_ERROR(context->GetAttr("connectivity", &connectivity));
  TF_RETURN_IF_ERROR(check_connectivity(connectivity));
  ShapeHandle masks;
  TF_RETURN_IF_ERROR(context->WithRank(context->input(0), 3, &masks));
  context->set_output(0, masks);
  context->set_output(1, context->MakeShape({context->Dim(masks, 0)}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>ConnectedComponents")
    .Input("masks: T")
    .Output("labels: int32")
    .Output("counts: int32")
    .Attr("T: {bool, uint8, int8}")
    .Attr("connectivity: int = 8")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Connected components of the nonzero pixels of masks [N, H, W]: labels 1 and up in raster order, 0 for background.
)doc");

template <class Device>
class ConnectedComponentsOp final : public NativeOp {
 public:
  explicit ConnectedComponentsOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, context->GetAttr("connectivity", &connectivity_));
    OP_REQUIRES_OK(context, check_connectivity(connectivity_));
  }

  void compute(OpKernelContext* context) const override {
    const Tensor& masks = context->input(0);
    OP_REQUIRES_OK(context, check_rank(masks, 3, "masks"));
    ConnectedComponentsArgs args;
    args.masks = {reinterpret_cast<const uint8_t*>(masks.tensor_data().data()), shape_of<3>(masks)};
    OP_REQUIRES_OK(context, to_absl(check_connected_components(args.masks.shape, connectivity_, &args.connectivity)));
    Tensor *labels = nullptr, *counts = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, masks.shape(), &labels));
    OP_REQUIRES_OK(context, context->allocate_output(1, TensorShape({masks.dim_size(0)}), &counts));
    args.labels = mutable_view_of<int32_t, 3>(labels);
    args.counts = mutable_view_of<int32_t, 1>(counts);
    OP_REQUIRES_OK(
        context, run_on<Device>(
                     context, [&](const ParallelFor& parallel_for) { return connected_components(args, parallel_for); },
                     [&](const auto& cuda) { return connected_components_cuda(args, cuda); }));
  }

 private:
  int64_t connectivity_ = 8;
};

REGISTER_KERNEL_BUILDER(Name("Kseg>ConnectedComponents").Device(tensorflow::DEVICE_CPU), ConnectedComponentsOp<OnCpu>);
#if KSEG_CUDA
REGISTER_KERNEL_BUILDER(Name("Kseg>ConnectedComponents").Device(tensorflow::DEVICE_GPU), ConnectedComponentsOp<OnGpu>);
#endif

}  // namespace
}  // namespace kseg
