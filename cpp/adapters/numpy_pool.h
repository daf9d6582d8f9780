// The threads of the NumPy module, which has no host framework to borrow them from.
#ifndef KSEG_ADAPTERS_NUMPY_POOL_H_
#define KSEG_ADAPTERS_NUMPY_POOL_H_

#include "base/parallel_for.h"

namespace kseg {

// Starts its threads at the first use. A child made by fork() has none of its parent's threads, so the pool starts anew
// there. The number of threads is KSEG_NUM_THREADS if set, else the number of CPUs this process may use.
const ParallelFor& numpy_pool();

int numpy_threads();

// 0 returns to the default.
void set_numpy_threads(int count);

}  // namespace kseg

#endif  // KSEG_ADAPTERS_NUMPY_POOL_H_
