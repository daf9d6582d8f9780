#include "cuda_harness/harness.h"
#include "ops/max_unpool2d/max_unpool2d_cuda.h"

namespace kseg {
namespace {

// Values are moved, whatever they are.
template <class Visit>
Status visit_size(const HarnessCall& call, const Visit& visit) {
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return visit(DtypeTag<std::conditional_t<sizeof(T) == 4, uint32_t, uint16_t>>());
  });
}

}  // namespace
}  // namespace kseg

// values, indices -> output
KSEG_HARNESS(max_unpool2d) {
  using namespace kseg;
  return visit_size(call, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return max_unpool2d_cuda<T>(call.array<const T, 4>(0), call.array<const int32_t, 4>(1), call.array<T, 4>(2),
                                call.context());
  });
}

// output gradient, indices -> values gradient
KSEG_HARNESS(max_unpool2d_grad) {
  using namespace kseg;
  return visit_size(call, [&](auto tag) {
    using T = typename decltype(tag)::type;
    return max_unpool2d_grad_cuda<T>(call.array<const T, 4>(0), call.array<const int32_t, 4>(1), call.array<T, 4>(2),
                                     call.context());
  });
}
