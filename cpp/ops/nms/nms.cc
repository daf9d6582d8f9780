#include "ops/nms/nms.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "ops/nms/candidates.h"
#include "ops/nms/nms_check.h"

#include "base/kernel.h"
#include "base/argmax.h"           // target code only
#include "ops/nms/box_lists.h"     // target code only
#include "ops/nms/box_cells.h"     // target code only
#include "ops/nms/greedy.h"        // target code only
#include "ops/nms/scores_above.h"  // target code only

KSEG_KERNEL_BEGIN

Status nms_kernel(const NmsArgs& args, int32_t* kept, int64_t* kept_count, const ParallelFor& parallel_for) {
  NmsImage image;
  image.rows = args.scores.shape[0];
  image.boxes = args.boxes.data;
  image.scores = args.scores.data;
  image.class_ids = args.class_ids.empty() ? nullptr : args.class_ids.data;
  const int64_t most =
      args.max_output_size < 0 || args.max_output_size > image.rows ? image.rows : args.max_output_size;
  const float threshold = without_subnormals(args.score_threshold);
  RankedCandidates ranked(image, threshold, false, scores_above(image, threshold));
  std::vector<uint64_t> picks(most);
  *kept_count = Greedy(image, args.iou_threshold, most, most).pick(&ranked, picks.data(), parallel_for);
  for (int64_t i = 0; i < *kept_count; ++i) kept[i] = static_cast<int32_t>(RankedCandidates::candidate(picks[i]));
  return Status();
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status nms_kernel(const NmsArgs&, int32_t*, int64_t*, const ParallelFor&))

Status nms(const NmsArgs& args, int32_t* kept, int64_t* kept_count, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_nms(args));
  *kept_count = 0;
  KSEG_RETURN_DISPATCH(nms_kernel, args, kept, kept_count, parallel_for);
}

}  // namespace kseg
#endif
