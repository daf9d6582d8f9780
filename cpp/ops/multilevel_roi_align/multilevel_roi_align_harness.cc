#include <vector>

#include "cuda_harness/harness.h"
#include "ops/multilevel_roi_align/multilevel_roi_align_cuda.h"

namespace kseg {
namespace {

// Numbers: sampling_ratio, aligned, a spatial scale per level, the levels' areas.
MultilevelRoiAlignOptions options_of(const HarnessCall& call, int64_t levels) {
  MultilevelRoiAlignOptions options;
  options.sampling_ratio = static_cast<int>(call.integer(0));
  options.aligned = call.integer(1) != 0;
  for (int64_t i = 2; i < call.number_count(); ++i) {
    (i < 2 + levels ? options.spatial_scales : options.level_areas).push_back(static_cast<float>(call.number(i)));
  }
  return options;
}

// Levels are arrays `first` up to `last`.
template <class T>
std::vector<View<T, 4>> levels_of(const HarnessCall& call, int64_t first, int64_t last) {
  std::vector<View<T, 4>> levels;
  for (int64_t i = first; i < last; ++i) levels.push_back(call.array<T, 4>(i));
  return levels;
}

}  // namespace
}  // namespace kseg

// boxes, features of each level -> output
KSEG_HARNESS(multilevel_roi_align) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(1, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t last = call.array_count() - 1;
    return multilevel_roi_align_cuda<T>(levels_of<const T>(call, 1, last), call.array<const float, 3>(0),
                                        options_of(call, last - 1), call.array<T, 5>(last), call.context());
  });
}

// output_gradient, boxes -> gradients of each level
KSEG_HARNESS(multilevel_roi_align_grad) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const int64_t count = call.array_count();
    return multilevel_roi_align_grad_cuda<T>(call.array<const T, 5>(0), call.array<const float, 3>(1),
                                             options_of(call, count - 2), levels_of<T>(call, 2, count), call.context());
  });
}
