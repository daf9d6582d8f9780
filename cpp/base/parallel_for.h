// Kernels own no threads. Whoever calls one lends it a way to run pieces of work side by side: TensorFlow's
// intra-op pool, XLA's, or the small pool of the NumPy module.
#ifndef KSEG_BASE_PARALLEL_FOR_H_
#define KSEG_BASE_PARALLEL_FOR_H_

#include <cstdint>
#include <functional>

namespace kseg {

class ParallelFor {
 public:
  using Body = std::function<void(int64_t begin, int64_t end)>;

  virtual ~ParallelFor() = default;

  // An upper bound on how many bodies run at once; sizes scratch memory, never results.
  virtual int max_threads() const = 0;

  // Calls `body` on disjoint ranges that cover [0, total), in any order and on any thread, and returns when all are
  // done. `cost_per_unit` is a rough number of CPU cycles per unit. How the range is cut depends on the number of
  // threads, so a result that depended on the cut would differ from machine to machine: kernels must not let it.
  virtual void run(int64_t total, int64_t cost_per_unit, const Body& body) const = 0;
};

class SerialFor final : public ParallelFor {
 public:
  int max_threads() const override { return 1; }
  void run(int64_t total, int64_t, const Body& body) const override {
    if (total > 0) body(0, total);
  }
};

}  // namespace kseg

#endif  // KSEG_BASE_PARALLEL_FOR_H_
