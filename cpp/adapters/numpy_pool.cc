#include "adapters/numpy_pool.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace kseg {
namespace {

constexpr int kMostThreads = 256;
// Below this many cycles a piece is not worth waking a thread for (a wake-up costs some microseconds).
constexpr int64_t kCyclesPerPiece = 40000;

int default_threads() {
  if (const char* wish = std::getenv("KSEG_NUM_THREADS")) {
    const int count = std::atoi(wish);
    if (count > 0) return std::min(count, kMostThreads);
  }
#if defined(__linux__)
  cpu_set_t cpus;
  if (sched_getaffinity(0, sizeof cpus, &cpus) == 0) return std::clamp(CPU_COUNT(&cpus), 1, kMostThreads);
#endif
  return std::clamp<int>(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads);
}

// One call of run(): pieces are handed out by a counter, so a slow thread delays nobody.
struct Job {
  Job(int64_t total, int64_t piece, const ParallelFor::Body& body) : total(total), piece(piece), body(body) {}

  void work() {
    for (;;) {
      const int64_t begin = next.fetch_add(piece, std::memory_order_relaxed);
      if (begin >= total) return;
      guard.call(body, begin, std::min(begin + piece, total));
    }
  }

  const int64_t total;
  const int64_t piece;
  const ParallelFor::Body& body;
  std::atomic<int64_t> next{0};
  Guard guard;
};

class Workers {
 public:
  explicit Workers(int helpers) {
    for (int index = 0; index < helpers; ++index) threads_.emplace_back([this] { serve(); });
  }
  ~Workers() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void run(Job& job) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &job;
      ++generation_;
    }
    wake_.notify_all();
    job.work();
    std::unique_lock<std::mutex> lock(mutex_);
    job_ = nullptr;  // a thread that wakes from here on finds nothing to do
    idle_.wait(lock, [this] { return busy_ == 0; });
  }

 private:
  void serve() {
    int64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && generation_ != seen); });
      if (stopping_) return;
      seen = generation_;
      Job* job = job_;
      ++busy_;
      lock.unlock();
      job->work();
      lock.lock();
      if (--busy_ == 0) idle_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::vector<std::thread> threads_;
  Job* job_ = nullptr;
  int64_t generation_ = 0;
  int busy_ = 0;
  bool stopping_ = false;
};

class Pool final : public ParallelFor {
 public:
  int max_threads() const override { return numpy_threads(); }

  void run(int64_t total, int64_t cost_per_unit, const Body& body) const override {
    if (total <= 0) return;
    const int threads = numpy_threads();
    const int64_t least = std::max<int64_t>(1, kCyclesPerPiece / std::max<int64_t>(1, cost_per_unit));
    const int64_t piece = std::max(least, total / (int64_t{4} * threads));
    // Another Python thread inside the pool, or nothing to share: work alone rather than wait.
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (threads == 1 || piece >= total || !lock.owns_lock()) {
      body(0, total);
      return;
    }
    if (workers_ == nullptr || started_with_ != threads) {
      workers_ = std::make_unique<Workers>(threads - 1);
      started_with_ = threads;
    }
    Job job(total, piece, body);
    workers_->run(job);
    job.guard.rethrow();
  }

  void before_fork() { mutex_.lock(); }
  void after_fork_in_parent() { mutex_.unlock(); }
  void after_fork_in_child() {
    // The threads do not exist here; joining or destroying them would hang. Their few kilobytes are given up.
    (void)workers_.release();
    mutex_.unlock();
  }

 private:
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Workers> workers_;
  mutable int started_with_ = 0;
};

std::atomic<int> g_threads{0};

// Never destroyed: at exit the interpreter may already be gone and a daemon thread may still be inside a kernel.
Pool& pool() {
  static Pool* const instance = [] {
    Pool* made = new Pool;
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork([] { pool().before_fork(); }, [] { pool().after_fork_in_parent(); },
                   [] { pool().after_fork_in_child(); });
#endif
    return made;
  }();
  return *instance;
}

}  // namespace

const ParallelFor& numpy_pool() { return pool(); }

int numpy_threads() {
  const int count = g_threads.load(std::memory_order_relaxed);
  static const int chosen = default_threads();
  return count > 0 ? count : chosen;
}

void set_numpy_threads(int count) { g_threads = std::clamp(count, 0, kMostThreads); }

}  // namespace kseg
