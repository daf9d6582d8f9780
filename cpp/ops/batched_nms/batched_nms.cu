// Batched NMS: ops/nms ranks the candidates and suppresses greedily (its reckoning is in greedy.cu), soft.cu and
// matrix.cu hold the other kinds. Here is what goes around them. The outputs are some kilobytes an image.
#include "ops/batched_nms/batched_nms.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/cuda/launch.cuh"
#include "ops/batched_nms/batched_nms_check.h"
#include "ops/batched_nms/batched_nms_cuda.h"
#include "ops/nms/box.cuh"
#include "ops/nms/rank.cuh"

namespace kseg {
namespace {

// What has been picked: the keys `keys[image][ranks[image][i]]`, or without ranks the first of the keys.
struct Picked {
  const uint64_t* keys;
  int64_t places;  // of an image in `keys`
  const int32_t* ranks;  // [images, most], or null
  const int32_t* counts;
  int64_t most;
};

struct Outputs {
  float* boxes;
  float* scores;
  int32_t* classes;
  int32_t* indices;
  int32_t* num_valid;
  int64_t room;
};

__global__ void __launch_bounds__(256)
    write_detections_kernel(const __grid_constant__ CudaNmsImages images, const __grid_constant__ Picked picked,
                            const __grid_constant__ Outputs to) {
  const int64_t sets = images.boxes_per_class ? images.classes : 1;
  for (int64_t i = global_thread(); i < images.images * to.room; i += global_threads()) {
    const int64_t image = i / to.room, place = i % to.room;
    const int64_t count = min(static_cast<int64_t>(picked.counts[image]), picked.most);
    if (place == 0) to.num_valid[image] = static_cast<int32_t>(count);
    float* const box = to.boxes + 4 * i;
    if (place >= count) {
      for (int side = 0; side < 4; ++side) box[side] = 0.0f;
      to.scores[i] = 0.0f;
      to.classes[i] = to.indices[i] = -1;
      continue;
    }
    const int64_t at = picked.ranks == nullptr ? place : picked.ranks[image * picked.most + place];
    const uint64_t key = picked.keys[image * picked.places + at];
    const int64_t row = key_number(key) / images.classes, of_class = key_number(key) % images.classes;
    const int64_t set = images.boxes_per_class ? of_class : 0;
    const float* const corners = images.boxes + 4 * ((image * images.rows + row) * sets + set);
    for (int side = 0; side < 4; ++side) box[side] = corners[side];
    to.scores[i] = key_score(key);
    to.classes[i] =
        images.class_ids != nullptr ? images.class_ids[image * images.rows + row] : static_cast<int32_t>(of_class);
    to.indices[i] = static_cast<int32_t>(row);
  }
}

CudaNmsImages images_of(const BatchedNmsArgs& args) {
  constexpr float kLeastScore = 0x1p-126f;  // decays lower positive scores only, and none to a subnormal one
  const bool hard = args.options.method == NmsMethod::kHard;
  const float threshold = plain_threshold(args.options.score_threshold);
  CudaNmsImages images;
  images.images = args.scores.shape[0];
  images.rows = args.scores.shape[1];
  images.classes = args.scores.shape[2];
  images.boxes = args.boxes.data;
  images.boxes_per_class = args.boxes.shape[2] > 1;
  images.scores = args.scores.data;
  images.class_ids = args.class_ids.empty() ? nullptr : args.class_ids.data;
  images.class_agnostic = args.options.class_agnostic;
  images.score_threshold = hard ? threshold : std::max(threshold, kLeastScore);
  images.most_score = hard ? std::numeric_limits<float>::infinity() : std::numeric_limits<float>::max();
  return images;
}

Status pick(const CudaNmsImages& images, const BatchedNmsOptions& options, const CudaPickLimits& limits,
            const NmsPlan& plan, const CudaContext& context, Picked* picked) {
  const bool soft = options.method == NmsMethod::kLinear || options.method == NmsMethod::kGaussian;
  const bool hard = options.method == NmsMethod::kHard;
  const bool by_threshold = hard || options.method == NmsMethod::kLinear;
  const float factor = by_threshold ? box_share_factor(options.iou_threshold) : 0.0f;
  const int64_t candidates = images.candidates();
  RankedCuda ranked;
  CudaRankedBoxes boxes;
  KSEG_RETURN_IF_ERROR(rank_boxes_cuda(images, plan, context, &ranked));
  KSEG_RETURN_IF_ERROR(prepare_boxes_cuda(images, ranked, true, factor, context, &boxes));
  if (soft) {
    CudaDetections found;
    KSEG_RETURN_IF_ERROR(
        pick_softly_cuda(ranked, boxes, options, images.score_threshold, candidates, limits, context, &found));
    *picked = {found.keys, limits.most, nullptr, found.counts, limits.most};
    return Status();
  }
  if (!hard) {
    RankedCuda lowered;
    KSEG_RETURN_IF_ERROR(
        rank_by_matrix_cuda(ranked, boxes, options, images.score_threshold, candidates, plan, context, &lowered));
    ranked = lowered;
    *picked = {ranked.keys, ranked.places, nullptr, ranked.counts, limits.most};
    if (limits.most_per_group >= limits.most) return Status();
    // Nothing drops anything any more; the groups have to be counted.
    KSEG_RETURN_IF_ERROR(prepare_boxes_cuda(images, ranked, false, 0.0f, context, &boxes));
  }
  CudaPicks picks;
  KSEG_RETURN_IF_ERROR(
      pick_greedily_cuda(ranked, boxes, candidates, options.iou_threshold, limits, plan, context, &picks));
  *picked = {ranked.keys, ranked.places, picks.ranks, picks.counts, limits.most};
  return Status();
}

}  // namespace

Status batched_nms_cuda(const BatchedNmsArgs& args, const NmsPlan& plan, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_batched_nms(args));
  const BatchedNmsOptions& options = args.options;
  const CudaNmsImages images = images_of(args);
  if (images.images == 0) return Status();
  const int64_t most = std::min(options.max_output_size, images.candidates());
  const CudaPickLimits limits{most, options.max_per_class < 0 ? most : options.max_per_class};
  Picked picked;
  KSEG_RETURN_IF_ERROR(pick(images, options, limits, plan, context, &picked));
  const Outputs outputs{args.out_boxes,   args.out_scores, args.out_classes,
                        args.out_indices, args.num_valid,  options.max_output_size};
  return launch(&write_detections_kernel, threads_for(images.images * outputs.room), context, images, picked, outputs);
}

}  // namespace kseg
