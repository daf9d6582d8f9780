#include "cuda_harness/harness.h"
#include "ops/connected_components/connected_components_cuda.h"

// masks -> labels, counts; connectivity
KSEG_HARNESS(connected_components) {
  using namespace kseg;
  return connected_components_cuda({call.array<const uint8_t, 3>(0), static_cast<int>(call.integer(0)),
                                    call.array<int32_t, 3>(1), call.array<int32_t, 1>(2)},
                                   call.context());
}
