// Suppression of the boxes of a batch of images: hard, soft or matrix, to outputs of a fixed size.
#ifndef KSEG_OPS_BATCHED_NMS_BATCHED_NMS_H_
#define KSEG_OPS_BATCHED_NMS_BATCHED_NMS_H_

#include <cstdint>
#include <string>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

inline constexpr int64_t kMostDetections = int64_t{1} << 20;      // of one image
inline constexpr int64_t kMostBatchDetections = int64_t{1} << 26;  // padding included: a gigabyte of boxes

enum class NmsMethod { kHard, kLinear, kGaussian, kMatrixLinear, kMatrixGaussian };

struct BatchedNmsOptions {
  NmsMethod method = NmsMethod::kHard;
  float iou_threshold = 0.5f;    // of kHard and kLinear
  float score_threshold = 0.0f;  // scores must be above it, before and after their decay
  int64_t max_output_size = 100;
  int64_t max_per_class = -1;  // no limit where negative
  bool class_agnostic = false;
  float sigma = 0.5f;  // of the Gaussian methods
};

struct BatchedNmsArgs {
  View<const float, 4> boxes;        // [B, N, C or 1, 4]: x1 y1 x2 y2
  View<const float, 3> scores;       // [B, N, C]
  View<const int32_t, 2> class_ids;  // [B, N], a negative one marking padding, if C is 1; or [0, 0]: none
  BatchedNmsOptions options;
  // [B, M, 4], [B, M], [B, M], [B, M], [B], with M = max_output_size. Padding: 0, 0, -1, -1.
  float* out_boxes = nullptr;
  float* out_scores = nullptr;
  int32_t* out_classes = nullptr;
  int32_t* out_indices = nullptr;
  int32_t* num_valid = nullptr;
};

KSEG_API Status batched_nms(const BatchedNmsArgs& args, const ParallelFor& parallel_for);

// "hard", "linear", "gaussian", "matrix_linear", "matrix_gaussian".
KSEG_API Status parse_nms_method(const std::string& name, NmsMethod* method);

}  // namespace kseg

#endif  // KSEG_OPS_BATCHED_NMS_BATCHED_NMS_H_
