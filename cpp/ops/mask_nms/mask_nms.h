// Non-maximum suppression by the overlap of binary masks: hard, soft with a Gaussian (Bodla et al. 2017) and matrix NMS
// (Wang et al. 2020, SOLOv2). kseg_ops/reference/mask_nms.py spells out the semantics.
#ifndef KSEG_OPS_MASK_NMS_MASK_NMS_H_
#define KSEG_OPS_MASK_NMS_MASK_NMS_H_

#include <cstdint>
#include <string>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int64_t kMaxNmsOutputs = int64_t{1} << 28;  // of a whole batch
inline constexpr int32_t kPaddingClass = -1;

enum class MaskNmsKind { kHard, kSoft, kMatrix };

struct MaskNmsOptions {
  MaskNmsKind kind = MaskNmsKind::kHard;
  float iou_threshold = 0.5f;  // hard only: suppressed by a greater overlap
  float score_threshold = 0.0f;  // kept with a greater score
  bool has_score_threshold = false;
  float sigma = 0.5f;  // of the Gaussian exp(-iou**2 / sigma), soft and matrix only
  int64_t max_output_size = 0;  // at most this many are kept
  int64_t width = -1;  // of packed masks; -1: a byte per pixel
};

// Checks attributes before memory is allocated. max_output_size may be -1 here: settle it as N before what follows.
KSEG_API Status make_mask_nms_options(const std::string& kind, double iou_threshold, double score_threshold,
                                      bool has_score_threshold, double sigma, int64_t max_output_size, int64_t width,
                                      MaskNmsOptions* options);

struct MaskNmsInput {
  View<const uint8_t, 4> masks;  // [B, N, H, W], or [B, N, H, ceil(width / 8)]
  View<const float, 2> scores;  // [B, N]
  View<const int32_t, 2> class_ids;  // [B, N]; kPaddingClass: not a mask
  View<const float, 3> boxes{};  // [B, N, 4], x1 y1 x2 y2, outside which nothing is set; [B, 0, 4] or [0, 0, 4]: none
};

struct MaskNmsOutput {
  View<int32_t, 2> indices;  // [B, max_output_size]: kept masks by falling score, then -1
  View<float, 2> scores;  // [B, max_output_size]: theirs, decayed unless hard, then 0
  View<int32_t, 1> num_valid;  // [B]: how many are kept
};

KSEG_API Status mask_nms(const MaskNmsInput& input, const MaskNmsOptions& options, const MaskNmsOutput& output,
                         const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_MASK_NMS_MASK_NMS_H_
