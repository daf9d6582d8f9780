#include "base/cuda/host/block.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <sstream>
#include <utility>

#include "base/cuda/host/cuda_names.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace kseg::emulation {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackBytes = 256 << 10;
#else
constexpr size_t kStackBytes = 64 << 10;
#endif
constexpr unsigned char kGuard = 0xa5;
constexpr int kCanaryBytes = 256;
constexpr int64_t kArenaBytes = 1 << 20;

uint64_t next_random(uint64_t* state) {  // splitmix64
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

bool holds(const void* memory, int64_t bytes, unsigned char value) {
  const unsigned char* const from = static_cast<const unsigned char*>(memory);
  for (int64_t i = 0; i < bytes; ++i) {
    if (from[i] != value) return false;
  }
  return true;
}

}  // namespace

SharedMemory::SharedMemory() : memory_(new unsigned char[kArenaBytes]) {}

unsigned char* SharedMemory::make(const void* key, int64_t bytes, int64_t alignment, unsigned char poison) {
  const uintptr_t base = reinterpret_cast<uintptr_t>(memory_.get());
  const uintptr_t at = (base + used_ + kGuardBytes + alignment - 1) / alignment * alignment;
  unsigned char* const memory = reinterpret_cast<unsigned char*>(at);
  const int64_t end = static_cast<int64_t>(at - base) + bytes + kGuardBytes;
  if (end > kArenaBytes) return nullptr;
  std::memset(memory - kGuardBytes, kGuard, kGuardBytes);
  std::memset(memory, poison, bytes);
  std::memset(memory + bytes, kGuard, kGuardBytes);
#if defined(__SANITIZE_ADDRESS__)
  __asan_poison_memory_region(memory - kGuardBytes, kGuardBytes);
  __asan_poison_memory_region(memory + bytes, kGuardBytes);
#endif
  used_ = end;
  arrays_.push_back({key, memory, bytes});
  return memory;
}

void SharedMemory::reset(int64_t dynamic_bytes, unsigned char poison) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(memory_.get(), kArenaBytes);
#endif
  arrays_.clear();
  used_ = static_ = 0;
  dynamic_ = make(nullptr, dynamic_bytes, 16, poison);
}

void* SharedMemory::find_or_make(const void* key, int64_t bytes, int64_t alignment, unsigned char poison) {
  for (const Array& array : arrays_) {
    if (array.key == key) return array.memory;
  }
  static_ += bytes;
  return static_ > kStaticSharedBytes ? nullptr : make(key, bytes, alignment, poison);
}

bool SharedMemory::intact() const {
#if defined(__SANITIZE_ADDRESS__)
  return true;  // a write to a guard has ended the process
#else
  for (const Array& array : arrays_) {
    if (!holds(array.memory - kGuardBytes, kGuardBytes, kGuard)) return false;
    if (!holds(array.memory + array.bytes, kGuardBytes, kGuard)) return false;
  }
  return true;
#endif
}

Block& running_block() {
  static Block block;
  return block;
}

void Block::enter() {
  Block& block = running_block();
  block.current_->fibre.entered(&block.scheduler_);
  block.body_(block.closure_);
  block.current_->state = Thread::State::kDone;
  block.scheduler_.switch_from(&block.current_->fibre);
  __builtin_unreachable();
}

void Block::wait(Thread::State state, Site site) {
  current_->state = state;
  current_->site = site;
  scheduler_.switch_from(&current_->fibre);
}

void Block::fail(const std::string& message, Site site) {
  std::ostringstream text;
  text << message << " (block " << blockIdx.x << ' ' << blockIdx.y << ' ' << blockIdx.z << ", thread " << threadIdx.x
       << ' ' << threadIdx.y << ' ' << threadIdx.z << ", " << site.file << ':' << site.line << ')';
  error_ = text.str();
  scheduler_.switch_from(&current_->fibre);
}

std::vector<int> Block::make_order(uint64_t seed) const {
  std::vector<int> order(threads_.size());
  std::iota(order.begin(), order.end(), 0);
  if (settings().order == Order::kBackward) std::reverse(order.begin(), order.end());
  if (settings().order == Order::kShuffled) {
    uint64_t state = seed;
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[next_random(&state) % i]);
  }
  return order;
}

Status Block::run(const LaunchShape& shape, void (*body)(void*), void* closure, uint64_t number) {
  const size_t count = static_cast<size_t>(shape.block.count());
  body_ = body;
  closure_ = closure;
  error_.clear();
  shared_.reset(shape.shared_bytes, settings().poison);
  threads_.resize(count);
  while (stacks_.size() < count) stacks_.emplace_back(new char[kStackBytes]);
  for (size_t i = 0; i < count; ++i) {
    const int64_t flat = static_cast<int64_t>(i);
    Thread& thread = threads_[i];
    thread.state = Thread::State::kReady;
    thread.copies.assign(1, {});
    thread.index = {flat % shape.block.x, flat / shape.block.x % shape.block.y, flat / (shape.block.x * shape.block.y)};
    thread.fibre.prepare(stacks_[i].get(), kStackBytes, &Block::enter);
    std::memset(stacks_[i].get(), kGuard, kCanaryBytes);
  }
  uint64_t seed = settings().seed * 0x9e3779b97f4a7c15u + number;
  while (true) {
    bool running = false;
    for (const int i : make_order(seed++)) {
      if (threads_[i].state != Thread::State::kReady) continue;
      running = true;
      current_ = &threads_[i];
      const Extent3& index = current_->index;
      threadIdx = {static_cast<unsigned>(index.x), static_cast<unsigned>(index.y), static_cast<unsigned>(index.z)};
      current_->fibre.switch_from(&scheduler_);
      if (!error_.empty()) return internal_error(error_);
    }
    const bool warps = release_warps(), barrier = release_barrier();
    if (!warps && !barrier) {
      if (running) continue;
      break;
    }
  }
  for (size_t i = 0; i < count; ++i) {
    if (threads_[i].state != Thread::State::kDone) report_waiting();
    if (!holds(stacks_[i].get(), kCanaryBytes, kGuard)) error_ = "the stack of a thread was overrun";
  }
  if (error_.empty() && !shared_.intact()) error_ = "a thread wrote beyond a shared array";
  if (error_.empty()) return Status();
  std::ostringstream text;
  text << error_ << " (block " << blockIdx.x << ' ' << blockIdx.y << ' ' << blockIdx.z << ')';
  return internal_error(text.str());
}

// Lets a group of lanes go on that wait for each other and for nobody else.
bool Block::release_group(int warp, int lane) {
  const int first = warp * kWarpSize;
  const Thread& asking = threads_[first + lane];
  Lanes lanes{{}, asking.mask};
  for (int other = 0; other < kWarpSize; ++other) {
    const size_t number = static_cast<size_t>(first) + other;
    if ((asking.mask >> other & 1u) == 0 || number >= threads_.size()) continue;
    const Thread& thread = threads_[number];
    if (thread.state == Thread::State::kDone)
      continue;  // as on the device: only those that have not exited are waited for
    if (thread.state != Thread::State::kInWarpOperation) return false;
    if (thread.mask != asking.mask || thread.operation != asking.operation) return false;
    lanes.operand[other] = thread.operand;
  }
  asking.operation(lanes);
  for (int other = 0; other < kWarpSize; ++other) {
    if (lanes.takes_part(other)) threads_[first + other].state = Thread::State::kReady;
  }
  return true;
}

bool Block::release_warps() {
  bool released = false;
  for (size_t i = 0; i < threads_.size(); ++i) {
    if (threads_[i].state == Thread::State::kInWarpOperation) {
      released = release_group(static_cast<int>(i) / kWarpSize, static_cast<int>(i) % kWarpSize) || released;
    }
  }
  return released;
}

bool Block::release_barrier() {
  const Site site = threads_[0].site;
  for (const Thread& thread : threads_) {
    if (thread.state != Thread::State::kAtBarrier) return false;
    if (thread.site.line != site.line || std::strcmp(thread.site.file, site.file) != 0) return false;
  }
  barrier_count_ = 0;
  for (Thread& thread : threads_) {
    barrier_count_ += thread.predicate ? 1 : 0;
    thread.state = Thread::State::kReady;
  }
  return true;
}

void Block::report_waiting() {
  std::ostringstream text;
  text << "threads wait for each other for ever:";
  const char* const names[] = {"ready", "at a barrier", "in a warp operation", "done"};
  // Runs of threads that wait for the same.
  for (size_t begin = 0, end; begin < threads_.size(); begin = end) {
    const Thread& first = threads_[begin];
    for (end = begin + 1; end < threads_.size(); ++end) {
      const Thread& thread = threads_[end];
      if (thread.state != first.state || (first.state != Thread::State::kDone && thread.site.line != first.site.line)) {
        break;
      }
    }
    text << ' ' << begin << ".." << end - 1 << ' ' << names[static_cast<int>(first.state)];
    if (first.state != Thread::State::kDone) text << " at " << first.site.file << ':' << first.site.line;
    text << ';';
    if (text.tellp() > 600) break;
  }
  error_ = text.str();
}

}  // namespace kseg::emulation
