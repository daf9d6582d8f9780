// Masks as bits by columns, the order of COCO's runs, and by rows, the order of packed masks.
#ifndef KSEG_OPS_RLE_RLE_BITS_H_
#define KSEG_OPS_RLE_RLE_BITS_H_

#include <cstdint>
#include <vector>

#include "base/target.h"

namespace kseg {

// Bit i of the result: whether byte i is not 0.
inline uint8_t nonzero_bytes(uint64_t bytes) {
  const uint64_t low = 0x7f7f7f7f7f7f7f7full;
  const uint64_t ones = ((((bytes & low) + low) | bytes) >> 7) & 0x0101010101010101ull;
  return static_cast<uint8_t>((ones * 0x0102040810204080ull) >> 56);
}

struct MaskWindow {
  int64_t top, left, height, width;
};

// Row y of column x is bit y % 64 of words[x * stride + y / 64]. Bits below the height are 0, and so are the columns
// that fill up the width to a multiple of eight.
struct ColumnBits {
  int64_t height = 0;
  int64_t width = 0;
  int64_t stride = 0;
  std::vector<uint64_t> words;

  void reset(int64_t new_height, int64_t new_width);
};

// Sets the ones of a mask of `mask_height` rows that lie in the window, which lies in the mask. `bits` becomes as large
// as the window.
KSEG_API void runs_to_columns(const uint32_t* counts, int64_t length, int64_t mask_height, const MaskWindow& window,
                              ColumnBits* bits);
void columns_to_runs(const ColumnBits& bits, std::vector<uint32_t>* counts);

// Packed rows of `row_bytes` each, at least ceil(width / 8); the rows are all 0 before. Padding bits stay 0.
KSEG_API void columns_to_packed(const ColumnBits& bits, int64_t row_bytes, uint8_t* rows);
void packed_to_columns(const uint8_t* rows, int64_t row_bytes, int64_t height, int64_t width, ColumnBits* bits);
void pixels_to_columns(const uint8_t* pixels, int64_t height, int64_t width, ColumnBits* bits);

}  // namespace kseg

#endif  // KSEG_OPS_RLE_RLE_BITS_H_
