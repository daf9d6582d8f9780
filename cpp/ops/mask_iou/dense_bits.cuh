// Rows of pixels with a byte each as words of 32 bits.
#ifndef KSEG_OPS_MASK_IOU_DENSE_BITS_CUH_
#define KSEG_OPS_MASK_IOU_DENSE_BITS_CUH_

#include <cstdint>

#include "base/cuda/device.cuh"

namespace kseg {

// Bit i: whether byte i of 4 is not 0.
KSEG_DEVICE uint32_t nonzero_bytes(uint32_t bytes) {
  const uint32_t high = (((bytes & 0x7f7f7f7fu) + 0x7f7f7f7fu) | bytes) & 0x80808080u;
  return (high >> 7) * 0x10204080u >> 28;
}

// Pixels [32 * word, 32 * word + 32) of a row of `width` bytes, as far as it goes: bit i says whether pixel i is not 0.
// Nothing outside of the row is read. `aligned`: the row begins at a multiple of 16 bytes.
KSEG_DEVICE uint32_t dense_word(const uint8_t* row, int64_t width, int64_t word, bool aligned) {
  uint32_t bits = 0;
  const int64_t pixels = min(width - 32 * word, static_cast<int64_t>(32));
  const uint8_t* const from = row + 32 * word;
  if (aligned && pixels == 32) {
    const uint4 low = reinterpret_cast<const uint4*>(from)[0], high = reinterpret_cast<const uint4*>(from)[1];
    return nonzero_bytes(low.x) | nonzero_bytes(low.y) << 4 | nonzero_bytes(low.z) << 8 | nonzero_bytes(low.w) << 12 |
           nonzero_bytes(high.x) << 16 | nonzero_bytes(high.y) << 20 | nonzero_bytes(high.z) << 24 |
           nonzero_bytes(high.w) << 28;
  }
  const unsigned shift = static_cast<unsigned>(reinterpret_cast<uintptr_t>(from) % 4);
  if (pixels == 32 && word > 0 && 32 * word + 36 <= width) {  // what is read on either side is of the row
    const uint32_t* const quads = reinterpret_cast<const uint32_t*>(from - shift);
    uint32_t before = quads[0];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t next = quads[i + 1];
      bits |= nonzero_bytes(__funnelshift_r(before, next, 8 * shift)) << (4 * i);
      before = next;
    }
    return bits;
  }
  for (int i = 0; i < pixels; ++i) bits |= (from[i] != 0 ? 1u : 0u) << i;
  return bits;
}

// Whether rows of so many bytes, one after the other, all begin at a multiple of 16.
inline bool rows_are_aligned_to_16(const void* data, int64_t row_bytes) {
  return row_bytes % 16 == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_DENSE_BITS_CUH_
