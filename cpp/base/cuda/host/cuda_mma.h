// Tensor cores on the CPU. base/cuda/mma.cuh includes it and says which lane holds what.
#ifndef KSEG_BASE_CUDA_HOST_CUDA_MMA_H_
#define KSEG_BASE_CUDA_HOST_CUDA_MMA_H_

#include <cstdint>
#include <cstring>

#include "base/cuda/host/emulation.h"
#include "base/half.h"

namespace kseg::emulation {

struct MatrixOperand {
  const uint32_t* a;
  const uint32_t* b;
  float* c;
};

// Adds a[16][depth] * b[depth][8] to the lanes' shares of c.
template <int depth>
void multiply(const Lanes& lanes, const float (&a)[16][depth], const float (&b)[depth][8]) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    float* const c = static_cast<const MatrixOperand*>(lanes.operand[lane])->c;
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
      float sum = c[i];
      for (int k = 0; k < depth; ++k) sum += a[row][k] * b[k][column];
      c[i] = sum;
    }
  }
}

// Tensor cores have no masks: a lane that has exited leaves poison in all of the product.
inline bool all_take_part(Lanes& lanes) {
  bool all = true;
  for (int lane = 0; lane < kWarpSize; ++lane) all = all && lanes.takes_part(lane);
  for (int lane = 0; lane < kWarpSize && !all; ++lane) {
    if (lanes.takes_part(lane)) {
      std::memset(static_cast<MatrixOperand*>(lanes.operand[lane])->c, settings().poison, 4 * sizeof(float));
    }
  }
  return all;
}

template <class T>
void multiply_halves(Lanes& lanes) {
  if (!all_take_part(lanes)) return;
  float a[16][16], b[16][8];
  const auto half = [](uint32_t pair, int which) { return to_float(T{static_cast<uint16_t>(pair >> (16 * which))}); };
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const MatrixOperand& own = *static_cast<const MatrixOperand*>(lanes.operand[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int which = 0; which < 2; ++which) {
      for (int r = 0; r < 4; ++r) a[g + 8 * (r % 2)][2 * t + 8 * (r / 2) + which] = half(own.a[r], which);
      for (int r = 0; r < 2; ++r) b[2 * t + 8 * r + which][g] = half(own.b[r], which);
    }
  }
  multiply<16>(lanes, a, b);
}

inline void multiply_tf32(Lanes& lanes) {
  if (!all_take_part(lanes)) return;
  float a[16][8], b[8][8];
  const auto number = [](uint32_t bits) { return bits_to_float(bits & 0xffffe000u); };
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const MatrixOperand& own = *static_cast<const MatrixOperand*>(lanes.operand[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) a[g + 8 * (r % 2)][t + 4 * (r / 2)] = number(own.a[r]);
    for (int r = 0; r < 2; ++r) b[t + 4 * r][g] = number(own.b[r]);
  }
  multiply<8>(lanes, a, b);
}

struct LoadOperand {
  const void* row;
  uint32_t* result;
};

template <bool transposed>
void load_lanes(Lanes& lanes) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!lanes.takes_part(lane)) continue;
    const int g = lane / 4, t = lane % 4;
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint16_t pair[2];
      for (int which = 0; which < 2; ++which) {
        const int row = transposed ? 2 * t + which : g, column = transposed ? g : 2 * t + which;
        const void* const source = lanes.operand[8 * matrix + row];
        if (source == nullptr) {
          std::memset(&pair[which], settings().poison, sizeof pair[which]);
        } else {
          const char* const from = static_cast<const char*>(static_cast<const LoadOperand*>(source)->row);
          std::memcpy(&pair[which], from + 2 * column, sizeof pair[which]);
        }
      }
      static_cast<LoadOperand*>(lanes.operand[lane])->result[matrix] =
          static_cast<uint32_t>(pair[0]) | static_cast<uint32_t>(pair[1]) << 16;
    }
  }
}

}  // namespace kseg::emulation

#endif  // KSEG_BASE_CUDA_HOST_CUDA_MMA_H_
