// NMS of one image; greedy.cu does the work and holds the reckoning.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/cuda/launch.cuh"
#include "ops/nms/box.cuh"
#include "ops/nms/nms_check.h"
#include "ops/nms/nms_cuda.h"
#include "ops/nms/rank.cuh"

namespace kseg {
namespace {

__global__ void __launch_bounds__(256)
    write_kept_kernel(const uint64_t* keys, const CudaPicks picks, int64_t places, int32_t* kept, int32_t* kept_count) {
  const int64_t count = picks.counts[0];
  for (int64_t i = global_thread(); i < std::max<int64_t>(places, 1); i += global_threads()) {
    if (i == 0) *kept_count = static_cast<int32_t>(count);
    if (i < places) kept[i] = i < count ? static_cast<int32_t>(key_number(keys[picks.ranks[i]])) : -1;
  }
}

}  // namespace

Status nms_cuda(const NmsArgs& args, const View<int32_t, 1>& kept, int32_t* kept_count, const NmsPlan& plan,
                const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_nms(args));
  CudaNmsImages images;
  images.images = 1;
  images.rows = args.scores.shape[0];
  images.boxes = args.boxes.data;
  images.scores = args.scores.data;
  images.class_ids = args.class_ids.empty() ? nullptr : args.class_ids.data;
  images.score_threshold = plain_threshold(args.score_threshold);
  images.most_score = std::numeric_limits<float>::infinity();
  const int64_t most =
      args.max_output_size < 0 || args.max_output_size > images.rows ? images.rows : args.max_output_size;
  if (kept.shape[0] != most) {
    return invalid_argument("kept must have ", most, " places, as many as boxes may be kept, got ", kept.shape[0]);
  }
  RankedCuda ranked;
  CudaRankedBoxes boxes;
  CudaPicks picks;
  KSEG_RETURN_IF_ERROR(rank_boxes_cuda(images, plan, context, &ranked));
  KSEG_RETURN_IF_ERROR(prepare_boxes_cuda(images, ranked, true, box_share_factor(args.iou_threshold), context, &boxes));
  KSEG_RETURN_IF_ERROR(
      pick_greedily_cuda(ranked, boxes, images.rows, args.iou_threshold, {most, most}, plan, context, &picks));
  return launch(&write_kept_kernel, threads_for(std::max<int64_t>(most, 1)), context, ranked.keys, picks, most,
                kept.data, kept_count);
}

Status read_kept_count_cuda(const int32_t* kept_count, int64_t* count, const CudaContext& context) {
  int32_t number = 0;
  KSEG_RETURN_IF_ERROR(read_elements(&number, kept_count, 1, context));
  *count = number;
  return Status();
}

Status copy_kept_cuda(const int32_t* kept, const View<int32_t, 1>& to, const CudaContext& context) {
  return copy_elements(to.data, kept, to.size(), context);
}

}  // namespace kseg
