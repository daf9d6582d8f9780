#include "cuda_harness/harness.h"
#include "ops/distance_transform/distance_transform_cuda.h"

// masks -> distances and optionally indices; row_spacing, column_spacing, is_signed
KSEG_HARNESS(distance_transform) {
  using namespace kseg;
  DistanceTransformArgs args;
  args.masks = call.array<const uint8_t, 3>(0);
  args.row_spacing = call.number(0);
  args.column_spacing = call.number(1);
  args.is_signed = call.integer(2) != 0;
  args.distances = call.array<float, 3>(1);
  if (call.array_count() > 2) args.indices = call.array<int32_t, 4>(2);
  return distance_transform_cuda(args, call.context());
}
