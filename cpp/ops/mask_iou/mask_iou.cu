// The pairs. A warp has one mask of `a` and up to 32 of `b`: each lane looks whether the spans of its pair meet, the
// warp counts for those pairs one after the other, and the lanes divide and write side by side.
//
// Reckoning: mask_bits.cu reads the masks, which is most of it. 100 x 100 masks that cover an eighth of 800 x 1216
// share 2000 words on average, 40 million words of each of both sides: 160 MB from L1 and L2, 20 us. Where few pairs
// meet, the output is all there is.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "ops/mask_iou/mask_bits_cuda.h"
#include "ops/mask_iou/mask_common.cuh"
#include "ops/mask_iou/mask_iou_check.h"
#include "ops/mask_iou/mask_iou_cuda.h"

namespace kseg {
namespace {

constexpr int kThreads = 128;

struct Pairs {
  CudaMaskBits a, b;
  int64_t a_count, b_count;
  int64_t groups;  // of `per_warp` masks of b
  int per_warp;
  const uint8_t* is_crowd;
  float* output;
};

__global__ void __launch_bounds__(kThreads) iou_kernel(const __grid_constant__ Pairs p) {
  constexpr int kWarps = kThreads / kWarpSize;
  for (int64_t unit = static_cast<int64_t>(blockIdx.x) * kWarps + warp_index(); unit < p.a_count * p.groups;
       unit += static_cast<int64_t>(gridDim.x) * kWarps) {
    const int64_t i = unit / p.groups, first = unit % p.groups * p.per_warp, j = first + lane_index();
    const bool own = lane_index() < p.per_warp && j < p.b_count;
    const bool meet = own && spans_meet(p.a.spans[i], p.b.spans[j]);
    unsigned long long common = 0;
    for (unsigned left = __ballot_sync(kFullMask, meet); left != 0; left &= left - 1) {
      const int lane = __ffs(static_cast<int>(left)) - 1;
      const unsigned long long count = common_pixels(p.a, i, p.b, first + lane);
      if (lane == lane_index()) common = count;
    }
    if (!own) continue;
    const unsigned long long area = p.a.spans[i].area;
    const unsigned long long denominator = p.is_crowd[j] != 0 ? area : area + p.b.spans[j].area - common;
    p.output[i * p.b_count + j] = iou_of_counts(common, denominator);
  }
}

}  // namespace

Status mask_iou_cuda(const MaskStack& a, const MaskStack& b, const View<const uint8_t, 1>& is_crowd,
                     const View<float, 2>& output, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_mask_iou(a, b, is_crowd.shape[0]));
  if (output.shape != Shape<2>{a.count, b.count}) {
    return invalid_argument("the result must have shape ", to_string<2>({a.count, b.count}), ", got ",
                            to_string<2>(output.shape));
  }
  if (output.empty()) return Status();
  if (a.without_pixels()) return fill_bytes(output.data, 0, output.size(), context);
  Pairs p{};
  KSEG_RETURN_IF_ERROR(pack_masks_cuda(a, {}, context, &p.a));
  const bool same = a.data == b.data && a.boxes == b.boxes && a.count == b.count;
  if (same) {
    p.b = p.a;
  } else {
    KSEG_RETURN_IF_ERROR(pack_masks_cuda(b, {}, context, &p.b));
  }
  p.a_count = a.count;
  p.b_count = b.count;
  p.per_warp = mask_pairs_per_warp(a.count * b.count, multiprocessors());
  p.groups = ceil_div(b.count, p.per_warp);
  p.is_crowd = is_crowd.data;
  p.output = output.data;
  return launch(&iou_kernel, threads_for(a.count * p.groups * kWarpSize, kThreads), context, p);
}

}  // namespace kseg
