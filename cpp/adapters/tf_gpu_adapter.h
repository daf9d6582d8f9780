// Runs ops of base/op_call.h on a GPU that TensorFlow placed them on: on its stream, and with scratch memory from its
// allocator. Without CUDA in this library (KSEG_CUDA) there is nothing here, and nothing is registered.
#ifndef KSEG_ADAPTERS_TF_GPU_ADAPTER_H_
#define KSEG_ADAPTERS_TF_GPU_ADAPTER_H_

#include "adapters/tf_adapter.h"

#if KSEG_CUDA

#include <utility>
#include <vector>

#include "base/cuda/context.h"
#include "xla/stream_executor/stream.h"

namespace kseg {

// What is freed when the op returns may be given to whoever comes next on the same stream, and thus after our kernels:
// that is how TensorFlow's own ops hold their temporaries.
class TfScratch final : public Scratch {
 public:
  explicit TfScratch(OpKernelContext* context) : context_(context) {}

  Status allocate_bytes(int64_t bytes, void** memory) override {
    *memory = nullptr;
    if (bytes == 0) return Status();
    Tensor tensor;
    const absl::Status status = context_->allocate_temp(tensorflow::DT_UINT8, TensorShape({bytes}), &tensor);
    if (!status.ok()) {
      return make_status(StatusCode::kOutOfMemory, bytes, " bytes of scratch memory: ", std::string(status.message()));
    }
    *memory = tensor.data();
    if (reinterpret_cast<uintptr_t>(*memory) % kAlignment != 0) {
      return internal_error("TensorFlow's allocator gave memory that is not aligned to ", kAlignment, " bytes");
    }
    kept_.push_back(std::move(tensor));
    return Status();
  }

 private:
  OpKernelContext* context_;
  std::vector<Tensor> kept_;
};

class TfGpuCall final : public TfCall {
 public:
  explicit TfGpuCall(OpKernelContext* context) : TfCall(context), scratch_(context) {
    const tensorflow::DeviceContext* const device = context->op_device_context();
    if (device == nullptr || device->stream() == nullptr) return;
    cuda_.stream = static_cast<CudaStream>(device->stream()->platform_specific_handle().stream);
    cuda_.scratch = &scratch_;
  }

  Status problem() const override {
    return cuda_.scratch == nullptr ? internal_error("the device has no stream") : Status();
  }
  const CudaContext* cuda() const override { return &cuda_; }

 private:
  TfScratch scratch_;
  CudaContext cuda_;
};

template <class Op>
using TfGpuOp = TfOp<Op, TfGpuCall>;

// The types that attribute T may have, where an op takes more of them on the CPU.
inline constexpr tensorflow::DataType kGpuFloats[] = {tensorflow::DT_FLOAT, tensorflow::DT_HALF,
                                                      tensorflow::DT_BFLOAT16};
inline constexpr tensorflow::DataType kGpuPredictions[] = {
    tensorflow::DT_FLOAT, tensorflow::DT_HALF,   tensorflow::DT_BFLOAT16, tensorflow::DT_UINT8,
    tensorflow::DT_INT8,  tensorflow::DT_UINT16, tensorflow::DT_INT32,    tensorflow::DT_INT64};

}  // namespace kseg

// `...` begins with Name(op); what the host reads is HostMemory.
#define KSEG_TF_GPU_KERNEL(Op, ...) REGISTER_KERNEL_BUILDER(__VA_ARGS__.Device(tensorflow::DEVICE_GPU), Op)

#else

#define KSEG_TF_GPU_KERNEL(Op, ...) static_assert(true)

#endif

#endif  // KSEG_ADAPTERS_TF_GPU_ADAPTER_H_
