// Packing. A thread makes words of 32 pixels, strides of 256 words for each block, and a warp joins what its words
// cover into the mask's span.
//
// Reckoning for 100 dense masks of 800 x 1216: 97 MB to read and 12 MB to write, 23 us at 4.8 TB/s; the 2048 words of a
// block are 64 KB, 1500 blocks, and each thread has two loads of 16 bytes in flight for each of 8 words. Aligned rows
// only: others are read 4 bytes at a time, which L1 serves at about a third of that. Packed masks have an eighth to
// read.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "ops/mask_iou/dense_bits.cuh"
#include "ops/mask_iou/mask_bits_cuda.h"

namespace kseg {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kBlockWords = 8 * kThreads;

struct Packing {
  const uint8_t* data;
  const float* boxes;
  int64_t width;
  int64_t row_bytes;
  bool packed;
  bool quads;  // rows begin at multiples of 16 bytes (dense) or 4 (packed)
  int64_t total;  // masks
  int64_t chunks;  // of kBlockWords, of a whole mask
  CudaMaskChoice choice;
  CudaMaskBits to;
};

// The mask that goes to a place; false if none does.
KSEG_DEVICE bool mask_of(const Packing& p, int64_t place, int64_t* mask) {
  *mask = place;
  if (p.choice.keys == nullptr) return true;
  const int64_t image = place / p.choice.per_image, rank = place % p.choice.per_image;
  if (rank >= p.choice.counts[image]) return false;
  *mask = image * p.choice.per_image + static_cast<uint32_t>(p.choice.keys[image * p.choice.key_places + rank]);
  return true;
}

struct Window {
  int64_t top, bottom, left, right;  // rows and pixels
};

KSEG_DEVICE int64_t floor_in(float value, int64_t extent) {
  if (!(value > 0.0f)) return 0;
  return value >= 0x1p31f ? extent : min(static_cast<int64_t>(value), extent);
}
KSEG_DEVICE int64_t ceil_in(float value, int64_t extent) {
  if (!(value > 0.0f)) return 0;
  if (value >= 0x1p31f) return extent;
  const int64_t whole = static_cast<int64_t>(value);
  return min(whole + (static_cast<float>(whole) < value ? 1 : 0), extent);
}
KSEG_DEVICE float plain(float value) { return (__float_as_uint(value) & 0x7f800000u) == 0 ? 0.0f : value; }

// As mask_window().
KSEG_DEVICE Window window_of(const Packing& p, int64_t mask) {
  if (p.boxes == nullptr) return {0, p.to.height, 0, p.width};
  const float* const box = p.boxes + 4 * mask;
  const float x1 = plain(box[0]), y1 = plain(box[1]), x2 = plain(box[2]), y2 = plain(box[3]);
  if (!(x1 < x2 && y1 < y2)) return {0, 0, 0, 0};
  return {floor_in(y1, p.to.height), ceil_in(y2, p.to.height), floor_in(x1, p.width), ceil_in(x2, p.width)};
}

__global__ void __launch_bounds__(kThreads) begin_spans_kernel(const __grid_constant__ Packing p) {
  for (int64_t place = global_thread(); place < p.total; place += global_threads()) {
    CudaMaskSpan span{kNoMaskRow, 0, kNoMaskRow, 0, 0};
    int64_t mask;
    if (p.boxes != nullptr && mask_of(p, place, &mask)) {
      const Window window = window_of(p, mask);
      if (window.top < window.bottom && window.left < window.right) {
        span = {static_cast<int32_t>(window.top), static_cast<int32_t>(window.bottom),
                static_cast<int32_t>(window.left / 32), static_cast<int32_t>(ceil_div(window.right, 32)), 0};
      }
    }
    p.to.spans[place] = span;
  }
}

// Word `word` of a row, of which nothing behind the row is read. Bits behind its last pixel are undefined if packed.
KSEG_DEVICE uint32_t read_word(const Packing& p, const uint8_t* row, int64_t word) {
  uint32_t bits = 0;
  if (p.packed) {
    const int64_t bytes = min(p.row_bytes - 4 * word, static_cast<int64_t>(4));
    if (p.quads && bytes == 4) return *reinterpret_cast<const uint32_t*>(row + 4 * word);
    for (int i = 0; i < bytes; ++i) bits |= static_cast<uint32_t>(row[4 * word + i]) << (8 * i);
    return bits;
  }
  return dense_word(row, p.width, word, p.quads);
}

__global__ void __launch_bounds__(kThreads) pack_kernel(const __grid_constant__ Packing p) {
  for (int64_t unit = blockIdx.x; unit < p.total * p.chunks; unit += gridDim.x) {
    const int64_t place = unit / p.chunks;
    int64_t mask;
    if (!mask_of(p, place, &mask)) continue;
    const Window window = window_of(p, mask);
    const int64_t first_word = window.left / 32, words = ceil_div(window.right, 32) - first_word;
    const int64_t total = words * (window.bottom - window.top), begin = unit % p.chunks * kBlockWords;
    if (begin >= total) continue;
    const uint8_t* const data = p.data + mask * p.to.height * p.row_bytes;
    uint32_t* const to = p.to.bits + place * p.to.height * p.to.words;
    int top = kNoMaskRow, bottom = 0, first = kNoMaskRow, end = 0, area = 0;
    // Counted in 32 bits from the chunk's first row on: a row has fewer than 2**26 words.
    const int64_t first_row = window.top + begin / words;
    const unsigned offset = static_cast<unsigned>(begin % words), row_words = static_cast<unsigned>(words);
    const unsigned count = static_cast<unsigned>(min(kBlockWords, total - begin));
#pragma unroll 2
    for (unsigned i = threadIdx.x; i < count; i += kThreads) {
      const int64_t y = first_row + (offset + i) / row_words, word = first_word + (offset + i) % row_words;
      uint32_t bits = read_word(p, data + y * p.row_bytes, word);
      const int64_t before = window.left - 32 * word, inside = window.right - 32 * word;
      if (before > 0) bits &= ~0u << before;
      if (inside < 32) bits &= (1u << inside) - 1u;
      to[y * p.to.words + word] = bits;
      if (bits == 0) continue;
      area += __popc(bits);
      top = min(top, static_cast<int>(y));
      bottom = max(bottom, static_cast<int>(y) + 1);
      first = min(first, static_cast<int>(word));
      end = max(end, static_cast<int>(word) + 1);
    }
    __syncwarp();
    area = __reduce_add_sync(kFullMask, area);
    if (area == 0) continue;
    CudaMaskSpan* const span = p.to.spans + place;
    if (p.boxes == nullptr) {
      top = __reduce_min_sync(kFullMask, top);
      bottom = __reduce_max_sync(kFullMask, bottom);
      first = __reduce_min_sync(kFullMask, first);
      end = __reduce_max_sync(kFullMask, end);
      if (lane_index() == 0) {
        atomicMin(&span->top, top);
        atomicMax(&span->bottom, bottom);
        atomicMin(&span->first, first);
        atomicMax(&span->end, end);
      }
    }
    if (lane_index() == 0) atomicAdd(&span->area, static_cast<unsigned long long>(area));
  }
}

}  // namespace

Status pack_masks_cuda(const MaskStack& stack, const CudaMaskChoice& choice, const CudaContext& context,
                       CudaMaskBits* packed) {
  packed->height = stack.height;
  packed->words = ceil_div(stack.width, 32);
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(stack.count * stack.height * packed->words, &packed->bits));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(stack.count, &packed->spans));
  Packing p{};
  p.data = stack.data;
  p.boxes = stack.boxes;
  p.width = stack.width;
  p.row_bytes = stack.row_bytes();
  p.packed = stack.packed;
  const int64_t step = stack.packed ? 4 : 16;
  p.quads = p.row_bytes % step == 0 && reinterpret_cast<uintptr_t>(stack.data) % step == 0;
  p.total = stack.count;
  p.chunks = ceil_div(stack.height * packed->words, kBlockWords);
  p.choice = choice;
  p.to = *packed;
  KSEG_RETURN_IF_ERROR(launch(&begin_spans_kernel, threads_for(stack.count, kThreads), context, p));
  return launch(&pack_kernel, blocks_for(stack.count * p.chunks, kThreads), context, p);
}

}  // namespace kseg
