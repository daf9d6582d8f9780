#include "adapters/tf_adapter.h"
#include "adapters/tf_gpu_adapter.h"
#include "ops/connected_components/connected_components_call.h"
#include "tensorflow/core/framework/op.h"

namespace kseg::tf_connected_components {

absl::Status infer_shape(InferenceContext* context) {
  TF_RETURN_IF_ERROR(to_absl(ConnectedComponentsOp().read(TfAttributes(context))));
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

KSEG_TF_CPU_KERNEL("Kseg>ConnectedComponents", TfOp<ConnectedComponentsOp>);
KSEG_TF_GPU_KERNEL(TfGpuOp<ConnectedComponentsOp>, Name("Kseg>ConnectedComponents"));

}  // namespace kseg::tf_connected_components
