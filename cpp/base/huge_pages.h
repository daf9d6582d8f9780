// Fewer page faults for large results.
#ifndef KSEG_BASE_HUGE_PAGES_H_
#define KSEG_BASE_HUGE_PAGES_H_

#include <cstdint>

namespace kseg {

// A hint before a large array is written for the first time. Allocators return tens of megabytes as untouched memory,
// and taking it into use in pages of 4 KiB can cost more than computing what goes into it. Does nothing for small
// arrays and where the system has no such hint.
void prefer_huge_pages(void* data, int64_t bytes);

}  // namespace kseg

#endif  // KSEG_BASE_HUGE_PAGES_H_
