// Kernels own no threads. Whoever calls one lends it a way to run pieces of work side by side: TensorFlow's
// intra-op pool, XLA's, or the small pool of the NumPy module.
#ifndef KSEG_BASE_PARALLEL_FOR_H_
#define KSEG_BASE_PARALLEL_FOR_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>

namespace kseg {

class ParallelFor {
 public:
  using Body = std::function<void(int64_t begin, int64_t end)>;

  virtual ~ParallelFor() = default;

  // An upper bound on how many bodies run at once; sizes scratch memory, never results.
  virtual int max_threads() const = 0;

  // How many bodies at once keep the machine busy: max_threads(), or less where the caller is one thread too many.
  virtual int useful_threads() const { return max_threads(); }

  // Calls `body` on disjoint ranges that cover [0, total), in any order and on any thread, and returns when all are
  // done. `cost_per_unit` is a rough number of CPU cycles per unit. How the range is cut depends on the number of
  // threads, so a result that depended on the cut would differ from machine to machine: kernels must not let it.
  // A body may throw std::bad_alloc: run() throws it in its caller once no body runs any more, and what bodies have
  // not begun may be left out.
  virtual void run(int64_t total, int64_t cost_per_unit, const Body& body) const = 0;
};

// Carries an exception from the threads of a pool, which it must not leave, to the one that called run().
class Guard {
 public:
  // Calls `body` unless an earlier call threw.
  void call(const ParallelFor::Body& body, int64_t begin, int64_t end) noexcept {
    if (failed_.load(std::memory_order_relaxed)) return;
    try {
      body(begin, end);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
      failed_.store(true, std::memory_order_relaxed);
    }
  }

  // For the caller of run(), when all bodies are done.
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

class SerialFor final : public ParallelFor {
 public:
  int max_threads() const override { return 1; }
  void run(int64_t total, int64_t, const Body& body) const override {
    if (total > 0) body(0, total);
  }
};

// Units [0, total) of work, each taken by the first thread that is free.
class WorkQueue {
 public:
  explicit WorkQueue(int64_t total) : total_(total) {}
  // The first of the next `count` units, or something from total() on when all are taken.
  int64_t take(int64_t count = 1) { return next_.fetch_add(count, std::memory_order_relaxed); }
  int64_t total() const { return total_; }

 private:
  const int64_t total_;
  std::atomic<int64_t> next_{0};
};

// Calls body(queue) once per thread that is useful: for threads that keep something from unit to unit, or look ahead.
// `grain` units are taken at a time, `cost_per_unit` is as in run().
template <class Body>
void run_workers(const ParallelFor& parallel_for, int64_t total, int64_t grain, int64_t cost_per_unit,
                 const Body& body) {
  constexpr int64_t kWorthAThread = 40000;  // cycles
  if (total <= 0) return;
  const double cost = static_cast<double>(total) * static_cast<double>(std::max<int64_t>(1, cost_per_unit));
  const double pieces = static_cast<double>(total) / static_cast<double>(grain);
  const double threads = std::min({cost / kWorthAThread, pieces, static_cast<double>(parallel_for.useful_threads())});
  WorkQueue queue(total);
  if (threads < 2) return body(&queue);
  parallel_for.run(static_cast<int64_t>(threads), kWorthAThread * 25, [&](int64_t, int64_t) { body(&queue); });
}

// parallel_for.run in pieces of `grain` units that each thread takes when it has done its last: for units of very
// different sizes, or where the pool's own pieces (about four per thread) are too coarse. `cost_per_unit` as in run().
inline void run_in_pieces(const ParallelFor& parallel_for, int64_t total, int64_t grain, int64_t cost_per_unit,
                          const ParallelFor::Body& body) {
  run_workers(parallel_for, total, grain, cost_per_unit, [&](WorkQueue* queue) {
    for (int64_t begin = queue->take(grain); begin < total; begin = queue->take(grain)) {
      body(begin, std::min(begin + grain, total));
    }
  });
}

}  // namespace kseg

#endif  // KSEG_BASE_PARALLEL_FOR_H_
