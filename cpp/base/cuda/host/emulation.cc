#include "base/cuda/host/emulation.h"

#include <cstring>
#include <mutex>
#include <utility>

#include "base/cuda/host/block.h"
#include "base/cuda/host/cuda_names.h"

kseg::emulation::Index3 threadIdx, blockIdx, blockDim, gridDim;

namespace kseg::emulation {
namespace {

Settings& mutable_settings() {
  static Settings settings;
  return settings;
}

Index3 index_of(const Extent3& extent) {
  return {static_cast<unsigned>(extent.x), static_cast<unsigned>(extent.y), static_cast<unsigned>(extent.z)};
}

// The place of block i: a permutation without a table, since a grid may be of any size.
int64_t place_of(int64_t i, int64_t blocks) {
  switch (settings().order) {
    case Order::kForward:
      return i;
    case Order::kBackward:
      return blocks - 1 - i;
    case Order::kShuffled:
      break;
  }
  int64_t step = static_cast<int64_t>(settings().seed % 7919) * 2 + 7919;
  const auto divides = [](int64_t a, int64_t b) {
    while (b != 0) a = std::exchange(b, a % b);
    return a;
  };
  while (divides(step, blocks) != 1) ++step;
  return static_cast<int64_t>((static_cast<unsigned __int128>(i) * step + settings().seed % blocks) % blocks);
}

}  // namespace

void set_settings(const Settings& settings) { mutable_settings() = settings; }
const Settings& settings() { return mutable_settings(); }

Status run_grid_of(const LaunchShape& shape, void (*body)(void*), void* closure) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  gridDim = index_of(shape.grid);
  blockDim = index_of(shape.block);
  const int64_t blocks = shape.grid.count();
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t place = place_of(i, blocks);
    blockIdx =
        index_of({place % shape.grid.x, place / shape.grid.x % shape.grid.y, place / (shape.grid.x * shape.grid.y)});
    KSEG_RETURN_IF_ERROR(running_block().run(shape, body, closure, static_cast<uint64_t>(place)));
  }
  return Status();
}

void fail(const std::string& message, Site site) {
  running_block().fail(message, site);
  __builtin_unreachable();
}

int block_barrier(bool predicate, Site site) {
  running_block().current().predicate = predicate;
  running_block().wait(Thread::State::kAtBarrier, site);
  return running_block().barrier_count();
}

int lane() { return running_block().current_number() % kWarpSize; }

void warp_operation(uint32_t mask, WarpOperation operation, void* operand, Site site) {
  if ((mask >> lane() & 1u) == 0) fail("a lane calls a warp operation whose mask leaves it out", site);
  Thread& thread = running_block().current();
  thread.mask = mask;
  thread.operation = operation;
  thread.operand = operand;
  running_block().wait(Thread::State::kInWarpOperation, site);
}

void* shared_array(const void* key, int64_t bytes, int64_t alignment, Site site) {
  void* const memory = running_block().shared().find_or_make(key, bytes, alignment, settings().poison);
  if (memory == nullptr) fail("a block declares more shared memory than it can have", site);
  return memory;
}

void* dynamic_shared() { return running_block().shared().dynamic(); }

void queue_copy(void* to, const void* from, int bytes) {
  // Until it is waited for, the target's contents are undefined.
  std::memset(to, settings().poison, static_cast<size_t>(bytes));
  running_block().current().copies.back().push_back({to, from, bytes});
}

void commit_copies() { running_block().current().copies.emplace_back(); }

void wait_for_copies(int most_pending) {
  auto& groups = running_block().current().copies;
  while (static_cast<int>(groups.size()) - 1 > most_pending) {
    for (const auto& [to, from, bytes] : groups.front()) {
      if (from == nullptr) {
        std::memset(to, 0, static_cast<size_t>(bytes));
      } else {
        std::memcpy(to, from, static_cast<size_t>(bytes));
      }
    }
    groups.erase(groups.begin());
  }
}

}  // namespace kseg::emulation
