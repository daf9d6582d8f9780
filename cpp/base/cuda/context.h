// What a launcher is lent by its caller: the stream it launches on and memory for what it computes on the way. Knows no
// CUDA header, so that contracts and adapters can name it.
#ifndef KSEG_BASE_CUDA_CONTEXT_H_
#define KSEG_BASE_CUDA_CONTEXT_H_

#include <cstdint>

#include "base/status.h"

struct CUstream_st;

namespace kseg {

using CudaStream = CUstream_st*;  // is cudaStream_t

// Device memory that lives until the work queued on the stream by the present call is done. In a TensorFlow op it comes
// from TensorFlow's allocator, in the harness from a pool with guard bands. Its contents are undefined.
class Scratch {
 public:
  static constexpr int64_t kAlignment = 256;  // bytes

  virtual ~Scratch() = default;

  // `*memory` is aligned to kAlignment; null for no bytes.
  virtual Status allocate_bytes(int64_t bytes, void** memory) = 0;

  // Room for `count` elements.
  template <class T>
  Status allocate(int64_t count, T** memory) {
    int64_t bytes;
    if (count < 0 || __builtin_mul_overflow(count, static_cast<int64_t>(sizeof(T)), &bytes)) {
      return internal_error("scratch memory of ", count, " elements was asked for");
    }
    void* raw = nullptr;
    KSEG_RETURN_IF_ERROR(allocate_bytes(bytes, &raw));
    *memory = static_cast<T*>(raw);
    return Status();
  }
};

struct CudaContext {
  CudaStream stream = nullptr;
  Scratch* scratch = nullptr;
};

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_CONTEXT_H_
