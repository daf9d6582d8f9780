// The device behind the harness: a GPU, or the CPU that stands for one.
#include "cuda_harness/harness.h"

#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <vector>

#include "base/cuda/launch.cuh"

namespace kseg {
namespace {

constexpr int64_t kGuardBytes = 256;
constexpr unsigned char kGuard = 0xa5;

#if defined(__CUDACC__)
Status allocate_memory(int64_t bytes, void** memory) {
  return cuda_status(cudaMalloc(memory, static_cast<size_t>(bytes)), "allocating device memory");
}
void free_memory(void* memory) { cudaFree(memory); }
Status copy_memory(void* to, const void* from, int64_t bytes, bool to_device) {
  const cudaMemcpyKind kind = to_device ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
  return cuda_status(cudaMemcpy(to, from, static_cast<size_t>(bytes), kind), "copying");
}
Status synchronize(CudaStream stream) { return cuda_status(cudaStreamSynchronize(stream), "running"); }
#else
// Blocks of their own, so that AddressSanitizer sees where they end.
Status allocate_memory(int64_t bytes, void** memory) {
  *memory = std::aligned_alloc(Scratch::kAlignment,
                               static_cast<size_t>(ceil_div(bytes, Scratch::kAlignment) * Scratch::kAlignment));
  return *memory == nullptr ? make_status(StatusCode::kOutOfMemory, "out of memory") : Status();
}
void free_memory(void* memory) { std::free(memory); }
Status copy_memory(void* to, const void* from, int64_t bytes, bool) {
  std::memcpy(to, from, static_cast<size_t>(bytes));
  return Status();
}
Status synchronize(CudaStream) { return Status(); }
#endif

// Scratch memory that is kept from call to call. When checked, it is poisoned at each allocation and has guard bands.
class PoolScratch final : public Scratch {
 public:
  ~PoolScratch() override {
    for (const Buffer& buffer : buffers_) free_memory(buffer.memory);
  }

  void begin(const CudaContext* context, bool checked, unsigned char poison) {
    context_ = context;
    checked_ = checked;
    poison_ = poison;
    used_ = 0;
    bytes_ = 0;
  }

  Status allocate_bytes(int64_t bytes, void** memory) override {
    *memory = nullptr;
    if (bytes == 0) return Status();
    const int64_t room = ceil_div(bytes, kAlignment) * kAlignment + 2 * kGuardBytes;
    if (used_ == buffers_.size()) buffers_.push_back({});
    Buffer& buffer = buffers_[used_];
    if (buffer.capacity < room) {
      KSEG_RETURN_IF_ERROR(synchronize(context_->stream));
      if (buffer.memory != nullptr) free_memory(buffer.memory);
      buffer = {};
      KSEG_RETURN_IF_ERROR(allocate_memory(room, &buffer.memory));
      buffer.capacity = room;
    }
    buffer.bytes = bytes;
    ++used_;
    bytes_ += bytes;
    unsigned char* const start = static_cast<unsigned char*>(buffer.memory) + kGuardBytes;
    if (checked_) {
      KSEG_RETURN_IF_ERROR(fill_bytes(start - kGuardBytes, kGuard, kGuardBytes, *context_));
      KSEG_RETURN_IF_ERROR(fill_bytes(start, poison_, bytes, *context_));
      KSEG_RETURN_IF_ERROR(fill_bytes(start + bytes, kGuard, kGuardBytes, *context_));
    }
    *memory = start;
    return Status();
  }

  // After the work is done.
  Status check_guards() const {
    if (!checked_) return Status();
    std::vector<unsigned char> guard(kGuardBytes);
    for (size_t i = 0; i < used_; ++i) {
      for (const int64_t offset : {int64_t{0}, kGuardBytes + buffers_[i].bytes}) {
        const unsigned char* const from = static_cast<const unsigned char*>(buffers_[i].memory) + offset;
        KSEG_RETURN_IF_ERROR(copy_memory(guard.data(), from, kGuardBytes, false));
        for (const unsigned char byte : guard) {
          if (byte != kGuard) {
            return internal_error("scratch memory number ", i, " of ", buffers_[i].bytes, " bytes: a write ",
                                  offset == 0 ? "before" : "behind", " it");
          }
        }
      }
    }
    return Status();
  }

  int64_t bytes() const { return bytes_; }

 private:
  struct Buffer {
    void* memory = nullptr;
    int64_t capacity = 0;
    int64_t bytes = 0;
  };

  std::vector<Buffer> buffers_;
  size_t used_ = 0;
  int64_t bytes_ = 0;
  const CudaContext* context_ = nullptr;
  bool checked_ = false;
  unsigned char poison_ = 0xff;
};

}  // namespace
}  // namespace kseg

struct KsegDevice {
  kseg::CudaContext context;
  kseg::PoolScratch scratch;
  std::string error;
  std::string name;
  unsigned char poison = 0xff;
  double milliseconds = 0;  // of the last run, all repeats together

  bool keep(const kseg::Status& status) {
    if (!status.ok()) error = status.message();
    return status.ok();
  }
};

namespace kseg {
namespace {

Status run_checked(KsegDevice* device, HarnessFunction function, HarnessCall& call) {
  device->scratch.begin(&device->context, true, device->poison);
  KSEG_RETURN_IF_ERROR(function(call));
  KSEG_RETURN_IF_ERROR(synchronize(device->context.stream));
  return device->scratch.check_guards();
}

Status run_timed(KsegDevice* device, HarnessFunction function, HarnessCall& call, int64_t repeats) {
#if defined(__CUDACC__)
  cudaEvent_t begin, end;
  KSEG_RETURN_IF_ERROR(cuda_status(cudaEventCreate(&begin), "making an event"));
  KSEG_RETURN_IF_ERROR(cuda_status(cudaEventCreate(&end), "making an event"));
  KSEG_RETURN_IF_ERROR(cuda_status(cudaEventRecord(begin, device->context.stream), "timing"));
#endif
  for (int64_t i = 0; i < repeats; ++i) {
    device->scratch.begin(&device->context, false, device->poison);
    KSEG_RETURN_IF_ERROR(function(call));
  }
#if defined(__CUDACC__)
  float milliseconds = 0;
  KSEG_RETURN_IF_ERROR(cuda_status(cudaEventRecord(end, device->context.stream), "timing"));
  KSEG_RETURN_IF_ERROR(cuda_status(cudaEventSynchronize(end), "running"));
  KSEG_RETURN_IF_ERROR(cuda_status(cudaEventElapsedTime(&milliseconds, begin, end), "timing"));
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  device->milliseconds = milliseconds;
#endif
  return Status();
}

}  // namespace

int64_t run_on_device(KsegDevice* device, HarnessFunction function, const KsegArray* arrays, int64_t array_count,
                      const double* numbers, int64_t number_count, int64_t repeats) {
  HarnessCall call(arrays, array_count, numbers, number_count, device->context);
  try {
    const Status status =
        repeats == 1 ? run_checked(device, function, call) : run_timed(device, function, call, repeats);
    return device->keep(status) ? 0 : 1;
  } catch (const std::exception& error) {
    device->error = error.what();
    return 1;
  }
}

}  // namespace kseg

// Functions that return an int64_t return 0, or 1 and leave an error's text behind kseg_device_error().

KSEG_HARNESS_API KsegDevice* kseg_device_new() {
  KsegDevice* const device = new KsegDevice;
  device->context.scratch = &device->scratch;
#if defined(__CUDACC__)
  cudaDeviceProp properties;
  if (device->keep(kseg::cuda_status(cudaGetDeviceProperties(&properties, 0), "looking for a GPU")) &&
      device->keep(kseg::cuda_status(cudaStreamCreate(&device->context.stream), "making a stream"))) {
    device->name = properties.name;
  }
#else
  device->name = "CPU";
#endif
  return device;
}
KSEG_HARNESS_API void kseg_device_delete(KsegDevice* device) { delete device; }
KSEG_HARNESS_API const char* kseg_device_error(KsegDevice* device) { return device->error.c_str(); }
KSEG_HARNESS_API const char* kseg_device_name(KsegDevice* device) { return device->name.c_str(); }
KSEG_HARNESS_API double kseg_device_milliseconds(KsegDevice* device) { return device->milliseconds; }
KSEG_HARNESS_API int64_t kseg_device_scratch_bytes(KsegDevice* device) { return device->scratch.bytes(); }

KSEG_HARNESS_API int64_t kseg_device_allocate(KsegDevice* device, int64_t bytes, void** memory) {
  return device->keep(kseg::allocate_memory(bytes, memory)) ? 0 : 1;
}
KSEG_HARNESS_API void kseg_device_free(KsegDevice*, void* memory) { kseg::free_memory(memory); }
KSEG_HARNESS_API int64_t kseg_device_upload(KsegDevice* device, void* to, const void* from, int64_t bytes) {
  return device->keep(kseg::copy_memory(to, from, bytes, true)) ? 0 : 1;
}
KSEG_HARNESS_API int64_t kseg_device_download(KsegDevice* device, void* to, const void* from, int64_t bytes) {
  return device->keep(kseg::copy_memory(to, from, bytes, false)) ? 0 : 1;
}

// How undefined things turn out from now on: what undefined memory holds, and on the CPU in which order (0 forward,
// 1 backward, 2 shuffled) blocks and threads run.
KSEG_HARNESS_API void kseg_device_vary(KsegDevice* device, int64_t poison, [[maybe_unused]] int64_t order,
                                       [[maybe_unused]] int64_t seed, [[maybe_unused]] int64_t most_blocks) {
  device->poison = static_cast<unsigned char>(poison);
#if !defined(__CUDACC__)
  kseg::emulation::set_settings(
      {static_cast<kseg::emulation::Order>(order), static_cast<uint64_t>(seed), device->poison});
  kseg::most_blocks() = most_blocks > 0 ? most_blocks : kseg::kMostGridX;
#endif
}
