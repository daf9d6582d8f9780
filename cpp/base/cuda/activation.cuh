// The activations of base/gemm_types.h in device code.
#ifndef KSEG_BASE_CUDA_ACTIVATION_CUH_
#define KSEG_BASE_CUDA_ACTIVATION_CUH_

#include "base/cuda/device.cuh"
#include "base/gemm_types.h"

namespace kseg {

// relu6(value + 3) / 6.
KSEG_DEVICE float hard_sigmoid(float value) {
  value += 3.0f;
  value = value < 0.0f ? 0.0f : value;
  return (value > 6.0f ? 6.0f : value) * (1.0f / 6);
}
// NaN stays NaN.
KSEG_DEVICE float activate(float value, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return value;
    case Activation::kRelu:
      return value < 0.0f ? 0.0f : value;
    case Activation::kRelu6:
      value = value < 0.0f ? 0.0f : value;
      return value > 6.0f ? 6.0f : value;
    case Activation::kHardSigmoid:
      return hard_sigmoid(value);
    case Activation::kHardSilu:
      return value * hard_sigmoid(value);
  }
  return value;
}

KSEG_DEVICE float apply_epilogue(const Epilogue& epilogue, int64_t channel, float value) {
  if (epilogue.scale != nullptr) value *= epilogue.scale[channel];
  if (epilogue.offset != nullptr) value += epilogue.offset[channel];
  return activate(value, epilogue.activation);
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_ACTIVATION_CUH_
