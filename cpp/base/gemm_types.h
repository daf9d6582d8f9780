// What contracts and callers of the matrix product need to know of it without an instruction set: activations, the
// affine map that follows a product, and memory on the border of a cache line.
#ifndef KSEG_BASE_GEMM_TYPES_H_
#define KSEG_BASE_GEMM_TYPES_H_

#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include "base/huge_pages.h"
#include "base/status.h"

namespace kseg {

enum class Activation : int { kNone, kRelu, kRelu6, kHardSigmoid, kHardSilu };

// "" or "linear", "relu", "relu6", "hard_sigmoid" (relu6(x + 3) / 6), "hard_silu" (x * hard_sigmoid(x)).
inline Status parse_activation(const std::string& name, const char* argument, Activation* activation) {
  static constexpr const char* kNames[] = {"linear", "relu", "relu6", "hard_sigmoid", "hard_silu"};
  for (int index = 0; index < 5; ++index) {
    if (name == kNames[index] || (index == 0 && name.empty())) {
      *activation = static_cast<Activation>(index);
      return Status();
    }
  }
  return invalid_argument(argument, " must be one of linear, relu, relu6, hard_sigmoid, hard_silu, got '", name, "'");
}

// y = activation(x * scale[channel] + offset[channel]); a null pointer stands for ones or zeros.
struct Epilogue {
  const float* scale = nullptr;
  const float* offset = nullptr;
  Activation activation = Activation::kNone;

  bool empty() const { return scale == nullptr && offset == nullptr && activation == Activation::kNone; }
};

// Floats on the border of a cache line, not initialised.
class AlignedFloats {
 public:
  explicit AlignedFloats(int64_t count = 0) {
    if (count <= 0) return;
    const size_t bytes = static_cast<size_t>(count) * sizeof(float);
    data_.reset(static_cast<float*>(::operator new(bytes, std::align_val_t(kAlignment))));
    prefer_huge_pages(data_.get(), static_cast<int64_t>(bytes));
  }
  float* data() const { return data_.get(); }

 private:
  static constexpr size_t kAlignment = 64;
  struct Free {
    void operator()(float* data) const { ::operator delete(data, std::align_val_t(kAlignment)); }
  };
  std::unique_ptr<float, Free> data_;
};

}  // namespace kseg

#endif  // KSEG_BASE_GEMM_TYPES_H_
