// Runs an op's kernel on the device that its OpKernel was registered for: the CPU, or a GPU where this library holds
// CUDA kernels (KSEG_CUDA). TensorFlow's OpKernels are templates of that device:
//
//   template <class T, class Device> class RoiAlignOp final : public NativeOp { ...
//     OP_REQUIRES_OK(context, run_on<Device>(context,
//         [&](const ParallelFor& parallel_for) { return roi_align(..., parallel_for); },
//         [&](const auto& cuda) { return roi_align_cuda(..., cuda); }));    // auto: not looked at without CUDA
//   };
//   #if KSEG_CUDA
//   REGISTER_KERNEL_BUILDER(Name(...).Device(tensorflow::DEVICE_GPU).HostMemory(<shapes and counts>), RoiAlignOp<T,
//   OnGpu>); #endif
#ifndef KSEG_ADAPTERS_TF_GPU_ADAPTER_H_
#define KSEG_ADAPTERS_TF_GPU_ADAPTER_H_

#include <type_traits>
#include <vector>

#include "adapters/tf_adapter.h"
#include "base/cuda/context.h"

#if KSEG_CUDA
#include "xla/stream_executor/stream.h"
#endif

namespace kseg {

struct OnCpu {};
struct OnGpu {};

#if KSEG_CUDA

// From TensorFlow's allocator. What is freed when the op returns may be given to whoever comes next on the same stream,
// and thus after our kernels: that is how TensorFlow's own ops hold their temporaries.
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
    *memory = tensor.flat<uint8_t>().data();
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

#endif

// Calls on_cpu(const ParallelFor&) or on_gpu(const CudaContext&), whichever `Device` (OnCpu, OnGpu) names.
template <class Device, class Cpu, class Gpu>
absl::Status run_on(OpKernelContext* context, const Cpu& on_cpu, [[maybe_unused]] const Gpu& on_gpu) {
  if constexpr (std::is_same<Device, OnCpu>::value) {
    return to_absl(on_cpu(TfParallelFor(context)));
  } else {
#if KSEG_CUDA
    const tensorflow::DeviceContext* const device = context->op_device_context();
    if (device == nullptr || device->stream() == nullptr) return absl::InternalError("the device has no stream");
    TfScratch scratch(context);
    CudaContext cuda;
    cuda.stream = static_cast<CudaStream>(device->stream()->platform_specific_handle().stream);
    cuda.scratch = &scratch;
    return to_absl(on_gpu(cuda));
#else
    static_assert(!std::is_same<Device, OnGpu>::value, "this library holds no CUDA kernels");
#endif
  }
}

}  // namespace kseg

#endif  // KSEG_ADAPTERS_TF_GPU_ADAPTER_H_
