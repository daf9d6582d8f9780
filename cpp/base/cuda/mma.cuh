// Matrix products on tensor cores, by warps: fragments in registers, 16-bit factors (or float cut to TF32), sums in
// float.
//
// Lane l holds, with g = l / 4 and t = l % 4 (PTX ISA, mma.m16n8k16 and mma.m16n8k8):
//   A 16 x 16   a[0]: row g, columns 2t 2t+1      a[1]: row g + 8      a[2]: row g, columns 2t+8 2t+9      a[3]: row g
//   + 8 B 16 x 8    b[0]: rows 2t 2t+1 of column g    b[1]: rows 2t+8 2t+9 of column g C 16 x 8    c[0] c[1]: row g,
//   columns 2t 2t+1 c[2] c[3]: row g + 8 A 16 x 8 (TF32)   a[0]: row g, column t   a[1]: row g + 8, column t   a[2]:
//   row g, column t + 4   a[3]: row g + 8, t + 4 B  8 x 8 (TF32)   b[0]: row t, column g   b[1]: row t + 4, column g
// Two 16-bit numbers of a register: the first in the low half. In which order a tensor core adds is not said anywhere,
// so that results on the CPU agree to rounding, not to the bit.
#ifndef KSEG_BASE_CUDA_MMA_CUH_
#define KSEG_BASE_CUDA_MMA_CUH_

#include <cstdint>
#include <type_traits>

#include "base/cuda/device.cuh"
#include "base/half.h"

#if !defined(__CUDACC__)
#include "base/cuda/host/cuda_mma.h"
#endif

namespace kseg {

#if defined(__CUDACC__)

// c += a * b, 16 x 8 x 16, of Half or BFloat16. The whole warp.
template <class T>
KSEG_DEVICE void mma_16x8x16(const uint32_t (&a)[4], const uint32_t (&b)[2], float (&c)[4]) {
  static_assert(std::is_same<T, Half>::value || std::is_same<T, BFloat16>::value);
  if constexpr (std::is_same<T, Half>::value) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
        "%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, "
        "%2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  }
}

// A float rounded to the 10 bits of mantissa that the products below read.
KSEG_DEVICE uint32_t to_tf32(float value) {
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

// c += a * b, 16 x 8 x 8, of numbers from to_tf32().
KSEG_DEVICE void mma_16x8x8_tf32(const uint32_t (&a)[4], const uint32_t (&b)[2], float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

KSEG_DEVICE unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}

// Four 8 x 8 matrices of 16-bit numbers from shared memory. Lanes 8m..8m+7 give the addresses of the rows of matrix m,
// 16 bytes each and aligned to as many; lane l gets columns 2t 2t+1 of row g of matrix m in r[m]. `transposed`: rows 2t
// 2t+1 of column g.
template <bool transposed>
KSEG_DEVICE void load_matrices(const void* row, uint32_t (&r)[4]) {
  if constexpr (transposed) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  }
}

// Copies 16 bytes from global to shared memory in the background; zeros if not `valid`, and `from` is then not read.
KSEG_DEVICE void copy_async(void* shared, const void* from, bool valid = true) {
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(from), "r"(bytes)
               : "memory");
}
// Ends a group of copies.
KSEG_DEVICE void end_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most `pending` of this thread's groups are under way; __syncthreads() then shows them to the others.
template <int pending>
KSEG_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

#else

template <class T>
void mma_16x8x16(const uint32_t (&a)[4], const uint32_t (&b)[2], float (&c)[4]) {
  emulation::MatrixOperand operand{a, b, c};
  emulation::warp_operation(kFullMask, &emulation::multiply_halves<T>, &operand, KSEG_SITE);
}
inline void mma_16x8x8_tf32(const uint32_t (&a)[4], const uint32_t (&b)[2], float (&c)[4]) {
  emulation::MatrixOperand operand{a, b, c};
  emulation::warp_operation(kFullMask, &emulation::multiply_tf32, &operand, KSEG_SITE);
}
template <bool transposed>
void load_matrices(const void* row, uint32_t (&r)[4]) {
  KSEG_DEVICE_CHECK(reinterpret_cast<uintptr_t>(row) % 16 == 0);
  emulation::LoadOperand operand{row, r};
  emulation::warp_operation(kFullMask, &emulation::load_lanes<transposed>, &operand, KSEG_SITE);
}
inline uint32_t to_tf32(float value) { return (float_to_bits(value) + 0x1000u) & 0xffffe000u; }
inline void copy_async(void* shared, const void* from, bool valid = true) {
  KSEG_DEVICE_CHECK(reinterpret_cast<uintptr_t>(shared) % 16 == 0);
  KSEG_DEVICE_CHECK(!valid || reinterpret_cast<uintptr_t>(from) % 16 == 0);
  emulation::queue_copy(shared, valid ? from : nullptr, 16);
}
inline void end_copy_group() { emulation::commit_copies(); }
template <int pending>
void wait_for_copies() {
  emulation::wait_for_copies(pending);
}

#endif

// Two 16-bit numbers as a register.
template <class T>
KSEG_DEVICE uint32_t pack_pair(T low, T high) {
  return static_cast<uint32_t>(low.bits) | static_cast<uint32_t>(high.bits) << 16;
}

}  // namespace kseg

#endif  // KSEG_BASE_CUDA_MMA_CUH_
