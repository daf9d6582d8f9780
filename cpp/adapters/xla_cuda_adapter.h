// Handlers of ops that have CUDA kernels: beside the one of platform Host one of platform CUDA, if this library is
// built with CUDA (KSEG_CUDA). It launches on XLA's stream and takes scratch memory from XLA.
#ifndef KSEG_ADAPTERS_XLA_CUDA_ADAPTER_H_
#define KSEG_ADAPTERS_XLA_CUDA_ADAPTER_H_

#include "adapters/xla_adapter.h"

#if KSEG_CUDA

#include <cstdint>
#include <optional>
#include <string>

#include "base/cuda/context.h"

namespace kseg {

class XlaScratch final : public Scratch {
 public:
  explicit XlaScratch(ffi::ScratchAllocator* allocator) : allocator_(allocator) {}

  Status allocate_bytes(int64_t bytes, void** memory) override {
    *memory = nullptr;
    if (bytes == 0) return Status();
    // XLA refuses to promise more than 16 bytes, though most of its allocators keep to 256.
    constexpr size_t kPromised = 16;
    const std::optional<void*> taken =
        allocator_->Allocate(static_cast<size_t>(bytes) + kAlignment - kPromised, kPromised);
    if (!taken.has_value() || *taken == nullptr) {
      return make_status(StatusCode::kOutOfMemory, bytes, " bytes of scratch memory");
    }
    const uintptr_t address = reinterpret_cast<uintptr_t>(*taken);
    *memory = reinterpret_cast<void*>((address + kAlignment - 1) / kAlignment * kAlignment);
    return Status();
  }

 private:
  ffi::ScratchAllocator* allocator_;
};

// What the host reads cannot stay in the device's memory: input number i of shapes or counts comes as the attribute
// constant_<i>, integers as a list of int64 and floating numbers as one of double. The buffer is not read then.
class XlaCudaCall final : public XlaCall {
 public:
  XlaCudaCall(const ffi::RemainingArgs& inputs, const ffi::RemainingRets& outputs, const ffi::Dictionary& attributes,
              CudaStream stream, ffi::ScratchAllocator* allocator)
      : XlaCall(inputs, outputs), attributes_(attributes), scratch_(allocator) {
    cuda_.stream = stream;
    cuda_.scratch = &scratch_;
  }
  XlaCudaCall(const XlaCudaCall&) = delete;

  using OpCall::input;
  Array input(int index) const override {
    Array array = XlaCall::input(index);
    const std::string name = "constant_" + std::to_string(index);
    if (const auto integers = attributes_.get<ffi::Span<const int64_t>>(name); integers.has_value()) {
      set_constant(ElementType::kInt64, *integers, &array);
    } else if (const auto numbers = attributes_.get<ffi::Span<const double>>(name); numbers.has_value()) {
      set_constant(ElementType::kDouble, *numbers, &array);
    }
    return array;
  }
  const ParallelFor& parallel_for() const override { return caller_; }
  const CudaContext* cuda() const override { return &cuda_; }

 private:
  class OnCaller final : public ParallelFor {
   public:
    int max_threads() const override { return 1; }
    void run(int64_t total, int64_t, const Body& body) const override {
      if (total > 0) body(0, total);
    }
  };

  template <class T>
  static void set_constant(ElementType type, const ffi::Span<const T>& values, Array* array) {
    array->type = type;
    array->data = values.begin();
    array->shape = {static_cast<int64_t>(values.size())};
  }

  const ffi::Dictionary& attributes_;
  XlaScratch scratch_;
  CudaContext cuda_;
  OnCaller caller_;
};

template <class Op>
ffi::Error run_xla_cuda_op(CudaStream stream, ffi::ScratchAllocator scratch, ffi::RemainingArgs inputs,
                           ffi::RemainingRets outputs, ffi::Dictionary attributes) {
  return run_xla_op<Op>(attributes, [&] { return XlaCudaCall(inputs, outputs, attributes, stream, &scratch); });
}

}  // namespace kseg

// The handler of platform CUDA is the symbol kseg_xla_cuda_<name>.
#define KSEG_XLA_CUDA_HANDLER(name, ...)                                                      \
  KSEG_XLA_EXPORT(kseg_xla_cuda_##name);                                                      \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(kseg_xla_cuda_##name, (::kseg::run_xla_cuda_op<__VA_ARGS__>), \
                                ::xla::ffi::Ffi::Bind()                                       \
                                    .Ctx<::xla::ffi::PlatformStream<::kseg::CudaStream>>()    \
                                    .Ctx<::xla::ffi::ScratchAllocator>()                      \
                                    .RemainingArgs()                                          \
                                    .RemainingRets()                                          \
                                    .Attrs());                                                \
  KSEG_XLA_REGISTER("Kseg>" #name, "CUDA", kseg_xla_cuda_##name)
#else
#define KSEG_XLA_CUDA_HANDLER(name, ...) static_assert(true)
#endif

#define KSEG_XLA_HANDLERS(name, ...)        \
  KSEG_XLA_HOST_HANDLER(name, __VA_ARGS__); \
  KSEG_XLA_CUDA_HANDLER(name, __VA_ARGS__)

#endif  // KSEG_ADAPTERS_XLA_CUDA_ADAPTER_H_
