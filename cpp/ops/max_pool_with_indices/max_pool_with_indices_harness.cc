#include "cuda_harness/harness.h"
#include "ops/max_pool_with_indices/max_pool_with_indices_cuda.h"

namespace kseg {
namespace {

PoolWindows windows_of(const HarnessCall& call) {
  const bool same = call.integer(4) != 0;
  return {{call.integer(0), call.integer(2), same}, {call.integer(1), call.integer(3), same}};
}

}  // namespace
}  // namespace kseg

// images -> pooled, indices; pool rows and columns, stride rows and columns, same
KSEG_HARNESS(max_pool_with_indices) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return max_pool_with_indices_cuda<T>(call.array<const T, 4>(0), windows_of(call), call.array<T, 4>(1),
                                         call.array<int32_t, 4>(2), call.context());
  });
}

// pooled gradient, indices -> images gradient; as above
KSEG_HARNESS(max_pool_with_indices_grad) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return max_pool_with_indices_grad_cuda<T>(call.array<const T, 4>(0), call.array<const int32_t, 4>(1),
                                              windows_of(call), call.array<T, 4>(2), call.context());
  });
}
