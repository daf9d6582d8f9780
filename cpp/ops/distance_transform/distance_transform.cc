#include "ops/distance_transform/distance_transform.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "base/huge_pages.h"
#include "ops/distance_transform/distance_transform_check.h"
#include "ops/distance_transform/distance_weights.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "ops/distance_transform/column_offsets.h"  // target code only
#include "ops/distance_transform/row_distances.h"   // target code only

KSEG_KERNEL_BEGIN
namespace {

template <class Offset, class Row>
void transform(const DistanceTransformArgs& args, const DistanceWeights& weights, const ParallelFor& parallel_for) {
  const auto [images, height, width] = args.masks.shape;
  const int64_t pixels = height * width;
  const std::unique_ptr<Offset[]> offsets(new Offset[images * pixels]);
  const int64_t bands = (width + kBandColumns - 1) / kBandColumns;
  parallel_for.run(images * bands, height * kBandColumns / 2, [&](int64_t begin, int64_t end) {
    ColumnBand<Offset> band;
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t image = unit / bands, first = unit % bands * kBandColumns;
      band.find_offsets(args.masks.data + image * pixels, height, width, first, offsets.get() + image * pixels);
    }
  });
  parallel_for.run(images * height, width * 16, [&](int64_t begin, int64_t end) {
    Row row(width, weights, args.indices.data != nullptr);
    for (int64_t y = begin; y < end; ++y) {
      int32_t* const indices = args.indices.data == nullptr ? nullptr : args.indices.data + y * width * 2;
      row.find_distances(args.masks.data + y * width, offsets.get() + y * width, y % height, args.is_signed,
                         args.distances.data + y * width, indices);
    }
  });
}

}  // namespace

Status distance_transform_kernel(const DistanceTransformArgs& args, const ParallelFor& parallel_for) {
  const int64_t height = args.masks.shape[1], width = args.masks.shape[2];
  const DistanceWeights weights = distance_weights(args.row_spacing, args.column_spacing);
  if (height > kMostShortSide || width > kMostShortSide) {
    transform<int32_t, GeneralRow<int32_t>>(args, weights, parallel_for);
  } else if (weights.row == 1 && weights.column == 1) {
    transform<int16_t, WholeRow>(args, weights, parallel_for);
  } else {
    transform<int16_t, GeneralRow<int16_t>>(args, weights, parallel_for);
  }
  return Status();
}

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(Status distance_transform_kernel(const DistanceTransformArgs&, const ParallelFor&))

Status distance_transform(const DistanceTransformArgs& args, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_distance_transform(args.masks.shape, args.row_spacing, args.column_spacing));
  const auto [images, height, width] = args.masks.shape;
  if (args.distances.shape != args.masks.shape ||
      (args.indices.data != nullptr && args.indices.shape != Shape<4>{images, height, width, 2})) {
    return invalid_argument("distances must have the shape of masks, ", to_string<3>(args.masks.shape),
                            ", and indices that shape with two entries per pixel");
  }
  if (args.masks.empty()) return Status();
  prefer_huge_pages(args.distances.data, args.distances.size() * static_cast<int64_t>(sizeof(float)));
  if (args.indices.data != nullptr) {
    prefer_huge_pages(args.indices.data, args.indices.size() * static_cast<int64_t>(sizeof(int32_t)));
  }
  KSEG_RETURN_DISPATCH(distance_transform_kernel, args, parallel_for);
}

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
