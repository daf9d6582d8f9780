// Work in pieces, for kernels whose threads keep memory from piece to piece.
#ifndef KSEG_BASE_WORKERS_H_
#define KSEG_BASE_WORKERS_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>

#include "base/parallel_for.h"

namespace kseg {

// A range in pieces of `grain` units, of which each thread takes another when it has done its last.
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

// Runs `worker`, which takes pieces until none is left, on as many threads as the work is worth: as run_in_pieces(),
// but a worker can keep memory from piece to piece. `cost_per_unit` as in ParallelFor::run().
inline void run_workers(const ParallelFor& parallel_for, int64_t total, int64_t grain, int64_t cost_per_unit,
                        const std::function<void(Pieces& pieces)>& worker) {
  constexpr int64_t kWorthAThread = 40000;  // cycles
  if (total <= 0) return;
  const double cost = static_cast<double>(total) * static_cast<double>(std::max<int64_t>(1, cost_per_unit));
  const double pieces = static_cast<double>(total) / static_cast<double>(grain);
  const double threads = std::min({cost / kWorthAThread, pieces, static_cast<double>(parallel_for.useful_threads())});
  Pieces shared(total, threads < 2 ? total : grain);
  if (threads < 2) return worker(shared);
  parallel_for.run(static_cast<int64_t>(threads), kWorthAThread * 25, [&](int64_t, int64_t) { worker(shared); });
}

}  // namespace kseg

#endif  // KSEG_BASE_WORKERS_H_
