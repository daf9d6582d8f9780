#include "ops/mask_iou/mask_iou.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "ops/mask_iou/cropped_mask.h"
#include "ops/mask_iou/mask_iou_check.h"
#include "ops/mask_iou/mask_window.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "ops/mask_iou/mask_bits.h"  // target code only

KSEG_KERNEL_BEGIN

Status mask_iou_kernel(const MaskStack& a, const MaskStack& b, const View<const uint8_t, 1>& is_crowd,
                       const View<float, 2>& output, const ParallelFor& parallel_for) {
  std::vector<int64_t> indices(std::max(a.count, b.count));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  std::vector<CroppedMask> a_crops, b_own_crops;
  indices.resize(a.count);
  crop_masks(a, indices, parallel_for, &a_crops);
  const bool same = a.data == b.data && a.boxes == b.boxes && a.count == b.count;
  if (!same) {
    indices.resize(b.count);
    std::iota(indices.begin(), indices.end(), int64_t{0});
    crop_masks(b, indices, parallel_for, &b_own_crops);
  }
  const std::vector<CroppedMask>& b_crops = same ? a_crops : b_own_crops;

  run_where_worth(parallel_for, a.count, b.count * pair_cycles(b_crops), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const CroppedMask& one = a_crops[i];
      float* const to = output.data + i * b.count;
      for (int64_t j = 0; j < b.count; ++j) {
        const CroppedMask& other = b_crops[j];
        const int64_t common = intersection(one, other);
        to[j] = iou_of_counts(common, is_crowd.data[j] ? one.area : one.area + other.area - common);
      }
    }
  });
  return Status();
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status mask_iou_kernel(const MaskStack&, const MaskStack&, const View<const uint8_t, 1>&,
                                           const View<float, 2>&, const ParallelFor&))

Status mask_iou(const MaskStack& a, const MaskStack& b, const View<const uint8_t, 1>& is_crowd,
                const View<float, 2>& output, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_mask_iou(a, b, is_crowd.shape[0]));
  if (output.shape != Shape<2>{a.count, b.count}) {
    return invalid_argument("the result must have shape ", to_string<2>({a.count, b.count}), ", got ",
                            to_string<2>(output.shape));
  }
  if (output.empty()) return Status();
  if (a.without_pixels()) {
    std::fill_n(output.data, output.size(), 0.0f);
    return Status();
  }
  KSEG_RETURN_DISPATCH(mask_iou_kernel, a, b, is_crowd, output, parallel_for);
}

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
