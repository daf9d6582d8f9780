// Masks in device memory as bits, with what of the image they cover.
#ifndef KSEG_OPS_MASK_IOU_MASK_BITS_CUDA_H_
#define KSEG_OPS_MASK_IOU_MASK_BITS_CUDA_H_

#include <cstdint>
#include <limits>

#include "base/cuda/context.h"
#include "ops/mask_iou/mask_iou.h"

namespace kseg {

// Rows and 32-pixel words that hold all of a mask's pixels, or of its box. Words outside are undefined.
struct CudaMaskSpan {
  int32_t top, bottom;  // rows [top, bottom)
  int32_t first, end;   // words [first, end)
  unsigned long long area;
};
// No span begins where another meets it: that of an empty mask.
inline constexpr int32_t kNoMaskRow = std::numeric_limits<int32_t>::max();

struct CudaMaskBits {
  uint32_t* bits = nullptr;  // [places, height, words]: pixel x of a row is bit x % 32 of word x / 32
  CudaMaskSpan* spans = nullptr;  // [places]
  int64_t height = 0;
  int64_t words = 0;
};

// Which masks to take: all of a stack in order or, of images with `per_image` masks each, those of `keys` (see
// ops/nms/rank.cuh) in their order, of which an image has `counts`; place `i * per_image` begins image i.
struct CudaMaskChoice {
  const uint64_t* keys = nullptr;    // [images, key_places]
  const int32_t* counts = nullptr;   // [images]
  int64_t key_places = 0;
  int64_t per_image = 0;
};

// Queues the packing, of `stack.count` masks at most. Reads what boxes touch, or everything without them.
Status pack_masks_cuda(const MaskStack& stack, const CudaMaskChoice& choice, const CudaContext& context,
                       CudaMaskBits* packed);

// How many pairs a warp takes, so that there are enough warps for the device: 1 to 32, a power of two.
inline int mask_pairs_per_warp(int64_t pairs, int multiprocessors) {
  int count = 32;
  while (count > 1 && pairs / count < int64_t{multiprocessors} * 64) count /= 2;
  return count;
}

}  // namespace kseg

#endif  // KSEG_OPS_MASK_IOU_MASK_BITS_CUDA_H_
