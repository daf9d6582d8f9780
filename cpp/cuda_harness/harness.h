// A C interface over the CUDA launchers, without TensorFlow and Python: arrays in device memory and numbers go in, a
// Status comes out. benchmarks/cuda/device.py drives it through ctypes. The same interface stands over the kernels on
// the CPU (base/cuda/host).
//
// An op joins with a file ops/<op>/<op>_harness.cc:
//   KSEG_HARNESS(resize_argmax) {
//     const auto logits = call.array<const float, 4>(0);
//     ...
//     return resize_argmax_cuda(logits, ..., call.context());
//   }
#ifndef KSEG_CUDA_HARNESS_HARNESS_H_
#define KSEG_CUDA_HARNESS_HARNESS_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>

#include "base/cuda/context.h"
#include "base/cuda/launch_shape.h"
#include "base/half.h"
#include "base/status.h"
#include "base/view.h"

extern "C" {

// As in benchmarks/cuda/device.py.
struct KsegArray {
  void* data;  // in device memory
  int64_t dtype;
  int64_t rank;
  int64_t shape[8];
};

struct KsegDevice;
}

#define KSEG_HARNESS_API extern "C" __attribute__((visibility("default")))

namespace kseg {

enum class Dtype : int64_t {
  kFloat32,
  kFloat16,
  kBFloat16,
  kInt8,
  kUint8,
  kInt16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kBool,
  kFloat64
};

template <class T>
struct DtypeTag {
  using type = T;
};

// One call of a launcher: what Python passes, in the order it passes it.
class HarnessCall {
 public:
  HarnessCall(const KsegArray* arrays, int64_t array_count, const double* numbers, int64_t number_count,
              const CudaContext& context)
      : arrays_(arrays), array_count_(array_count), numbers_(numbers), number_count_(number_count), context_(context) {}

  const CudaContext& context() const { return context_; }
  int64_t array_count() const { return array_count_; }
  int64_t number_count() const { return number_count_; }

  Dtype dtype(int64_t index) const { return static_cast<Dtype>(arrays_[index].dtype); }
  int64_t rank(int64_t index) const { return arrays_[index].rank; }
  void* data(int64_t index) const { return arrays_[index].data; }

  // Array `index` as one of T, which may be const, with `rank` axes.
  template <class T, int rank>
  View<T, rank> array(int64_t index) const {
    View<T, rank> view{static_cast<T*>(arrays_[index].data), {}};
    for (int axis = 0; axis < rank; ++axis) view.shape[axis] = arrays_[index].shape[axis];
    return view;
  }

  // For tests of launch geometry, on the CPU only: writes the seven numbers of a shape to array `index`, of int64.
  void store_shape(int64_t index, const LaunchShape& shape) const {
    const auto& [grid, block, shared_bytes] = shape;
    const int64_t values[] = {grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes};
    std::copy_n(values, 7, static_cast<int64_t*>(data(index)));
  }

  double number(int64_t index) const { return numbers_[index]; }
  int64_t integer(int64_t index) const { return static_cast<int64_t>(numbers_[index]); }

  // Calls visit(DtypeTag<T>()) with the one of the types that array `index` has.
  template <class T, class... More, class Visit>
  Status visit_dtype(int64_t index, const Visit& visit) const {
    if (dtype_of<T>() == dtype(index)) return visit(DtypeTag<T>());
    if constexpr (sizeof...(More) > 0) return visit_dtype<More...>(index, visit);
    return invalid_argument("array ", index, " has a dtype that this op does not take");
  }

  template <class T>
  static constexpr Dtype dtype_of();

 private:
  const KsegArray* arrays_;
  int64_t array_count_;
  const double* numbers_;
  int64_t number_count_;
  CudaContext context_;
};

template <class T>
constexpr Dtype HarnessCall::dtype_of() {
  if constexpr (std::is_same<T, float>::value) return Dtype::kFloat32;
  if constexpr (std::is_same<T, Half>::value) return Dtype::kFloat16;
  if constexpr (std::is_same<T, BFloat16>::value) return Dtype::kBFloat16;
  if constexpr (std::is_same<T, int8_t>::value) return Dtype::kInt8;
  if constexpr (std::is_same<T, uint8_t>::value) return Dtype::kUint8;
  if constexpr (std::is_same<T, int16_t>::value) return Dtype::kInt16;
  if constexpr (std::is_same<T, int32_t>::value) return Dtype::kInt32;
  if constexpr (std::is_same<T, uint32_t>::value) return Dtype::kUint32;
  if constexpr (std::is_same<T, int64_t>::value) return Dtype::kInt64;
  if constexpr (std::is_same<T, uint64_t>::value) return Dtype::kUint64;
  if constexpr (std::is_same<T, bool>::value) return Dtype::kBool;
  if constexpr (std::is_same<T, double>::value) return Dtype::kFloat64;
}

using HarnessFunction = Status (*)(HarnessCall&);

// Runs `function` `repeats` times and returns 0, or 1 and keeps the error's text on the device.
int64_t run_on_device(KsegDevice* device, HarnessFunction function, const KsegArray* arrays, int64_t array_count,
                      const double* numbers, int64_t number_count, int64_t repeats);

}  // namespace kseg

// Defines kseg_run_<name>; its body is a function of `call` that returns a Status.
#define KSEG_HARNESS(name)                                                                                           \
  static ::kseg::Status kseg_harness_##name(::kseg::HarnessCall& call);                                              \
  KSEG_HARNESS_API int64_t kseg_run_##name(KsegDevice* device, const KsegArray* arrays, int64_t array_count,         \
                                           const double* numbers, int64_t number_count, int64_t repeats) {           \
    return ::kseg::run_on_device(device, &kseg_harness_##name, arrays, array_count, numbers, number_count, repeats); \
  }                                                                                                                  \
  static ::kseg::Status kseg_harness_##name([[maybe_unused]] ::kseg::HarnessCall& call)

#endif  // KSEG_CUDA_HARNESS_HARNESS_H_
