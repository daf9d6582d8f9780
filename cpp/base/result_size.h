// Sizes of results, checked before anybody allocates one or multiplies its extents.
#ifndef KSEG_BASE_RESULT_SIZE_H_
#define KSEG_BASE_RESULT_SIZE_H_

#include <cstdint>
#include <initializer_list>

#include "base/status.h"

namespace kseg {

// Refuses a negative extent, and extents whose product, the size in bytes, no memory holds. `argument` is the one that
// asks for that much.
template <class Extents = std::initializer_list<int64_t>>
Status check_result_size(const char* argument, const Extents& extents) {
  int64_t size = 1;
  for (const int64_t extent : extents) {
    if (extent < 0) return invalid_argument(argument, " must not be negative, got ", extent);
    // Also where one of them is 0: strides are products of the others.
    if (extent > 0 && __builtin_mul_overflow(size, extent, &size)) {
      return invalid_argument(argument, " is too large: the result would take 2**63 bytes or more");
    }
  }
  return Status();
}

}  // namespace kseg

#endif  // KSEG_BASE_RESULT_SIZE_H_
