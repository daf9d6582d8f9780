#include "ops/batched_nms/batched_nms.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "ops/batched_nms/batched_nms_check.h"
#include "ops/batched_nms/selection.h"
#include "ops/nms/candidates.h"

#include "base/kernel.h"
#include "base/argmax.h"             // target code only
#include "ops/nms/box_lists.h"       // target code only
#include "ops/nms/box_cells.h"       // target code only
#include "ops/nms/greedy.h"          // target code only
#include "ops/nms/scores_above.h"    // target code only
#include "ops/batched_nms/decay.h"   // target code only
#include "ops/batched_nms/soft.h"    // target code only
#include "ops/batched_nms/matrix.h"  // target code only

KSEG_KERNEL_BEGIN

void suppress_image(const BatchedNmsArgs& args, int64_t index, const ParallelFor& parallel_for) {
  const BatchedNmsOptions& options = args.options;
  NmsImage image;
  image.rows = args.scores.shape[1];
  image.classes = args.scores.shape[2];
  image.boxes_per_class = args.boxes.shape[2] > 1;
  image.boxes = args.boxes.data + index * image.rows * args.boxes.shape[2] * 4;
  image.scores = args.scores.data + index * image.rows * image.classes;
  image.class_ids = args.class_ids.empty() ? nullptr : args.class_ids.data + index * image.rows;
  image.class_agnostic = options.class_agnostic;
  const int64_t candidates = image.rows * image.classes;
  const int64_t room = options.max_output_size;
  const int64_t most = room < candidates ? room : candidates;
  const int64_t per_class = options.max_per_class < 0 ? most : options.max_per_class;

  BatchedNmsOptions limited = options;
  limited.max_output_size = most;
  const bool hard = options.method == NmsMethod::kHard;
  float threshold = without_subnormals(options.score_threshold);
  // Multiplying with a decay lowers positive scores only.
  if (!hard && threshold < kLeastScore) threshold = kLeastScore;
  std::vector<uint64_t> picks(most);
  int64_t picked = 0;
  if (most > 0) {
    RankedCandidates ranked(image, threshold, !hard, scores_above(image, threshold));
    if (hard) {
      picked = Greedy(image, options.iou_threshold, most, per_class).pick(&ranked, picks.data(), parallel_for);
    } else if (options.method == NmsMethod::kLinear || options.method == NmsMethod::kGaussian) {
      picked = pick_softly(image, &ranked, limited, threshold, per_class, picks.data());
    } else {
      picked = pick_by_matrix(image, &ranked, limited, threshold, per_class, picks.data(), parallel_for);
    }
  }

  args.num_valid[index] = static_cast<int32_t>(picked);
  for (int64_t i = 0; i < room; ++i) {
    const int64_t to = index * room + i;
    if (i >= picked) {
      std::memset(args.out_boxes + 4 * to, 0, 4 * sizeof(float));
      args.out_scores[to] = 0.0f;
      args.out_classes[to] = -1;
      args.out_indices[to] = -1;
      continue;
    }
    const uint32_t candidate = RankedCandidates::candidate(picks[i]);
    const int64_t row = candidate / image.classes;
    std::memcpy(args.out_boxes + 4 * to, image.box(candidate), 4 * sizeof(float));
    args.out_scores[to] = RankedCandidates::score(picks[i]);
    args.out_classes[to] =
        image.class_ids != nullptr ? image.class_ids[row] : static_cast<int32_t>(candidate % image.classes);
    args.out_indices[to] = static_cast<int32_t>(row);
  }
}

Status batched_nms_kernel(const BatchedNmsArgs& args, const ParallelFor& parallel_for) {
  const int64_t images = args.scores.shape[0];
  // Images side by side where there are enough of them, else the candidates of one after another.
  if (images > 1 && images >= parallel_for.max_threads() / 2) {
    const int64_t cost = 5000 + 20 * args.scores.shape[1] * args.scores.shape[2];
    parallel_for.run(images, cost, [&](int64_t begin, int64_t end) {
      for (int64_t index = begin; index < end; ++index) suppress_image(args, index, SerialFor());
    });
  } else {
    for (int64_t index = 0; index < images; ++index) suppress_image(args, index, parallel_for);
  }
  return Status();
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status batched_nms_kernel(const BatchedNmsArgs&, const ParallelFor&))

Status parse_nms_method(const std::string& name, NmsMethod* method) {
  constexpr const char* kNames[] = {"hard", "linear", "gaussian", "matrix_linear", "matrix_gaussian"};
  for (int i = 0; i < 5; ++i) {
    if (name != kNames[i]) continue;
    *method = static_cast<NmsMethod>(i);
    return Status();
  }
  return invalid_argument("method must be hard, linear, gaussian, matrix_linear or matrix_gaussian, got ", name);
}

Status batched_nms(const BatchedNmsArgs& args, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_batched_nms(args));
  KSEG_RETURN_DISPATCH(batched_nms_kernel, args, parallel_for);
}

}  // namespace kseg
#endif
