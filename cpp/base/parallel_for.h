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

// Units [0, total) of work in pieces of `grain`, of which each thread takes another when it has done its last.
class Pieces {
 public:
  Pieces(int64_t total, int64_t grain) : total_(total), grain_(grain) {}

  // False when nothing is left.
  bool take(int64_t* begin, int64_t* end) {
    *begin = next_.fetch_add(grain_, std::memory_order_relaxed);
    *end = std::min(*begin + grain_, total_);
    return *begin < total_;
  }

 private:
  const int64_t total_, grain_;
  std::atomic<int64_t> next_{0};
};

// Calls worker(pieces), which takes pieces until none is left, on as many threads as the work is worth: for units of
// very different sizes, where the pool's own pieces (about four per thread) are too coarse, and for threads that keep
// memory from piece to piece. `cost_per_unit` as in ParallelFor::run().
template <class Worker>
void run_workers(const ParallelFor& parallel_for, int64_t total, int64_t grain, int64_t cost_per_unit,
                 const Worker& worker) {
  constexpr int64_t kWorthAThread = 40000;  // cycles
  if (total <= 0) return;
  const double cost = static_cast<double>(total) * static_cast<double>(std::max<int64_t>(1, cost_per_unit));
  const double pieces = static_cast<double>(total) / static_cast<double>(grain);
  const double threads = std::min({cost / kWorthAThread, pieces, static_cast<double>(parallel_for.useful_threads())});
  Pieces shared(total, threads < 2 ? total : grain);
  if (threads < 2) return worker(shared);
  parallel_for.run(static_cast<int64_t>(threads), kWorthAThread * 25, [&](int64_t, int64_t) { worker(shared); });
}

// The same for bodies that keep nothing.
inline void run_in_pieces(const ParallelFor& parallel_for, int64_t total, int64_t grain, int64_t cost_per_unit,
                          const ParallelFor::Body& body) {
  run_workers(parallel_for, total, grain, cost_per_unit, [&](Pieces& pieces) {
    for (int64_t begin, end; pieces.take(&begin, &end);) body(begin, end);
  });
}

}  // namespace kseg

#endif  // KSEG_BASE_PARALLEL_FOR_H_
