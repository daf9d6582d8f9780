// Rows that will be wanted soon. Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_AHEAD_H_
#define KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_AHEAD_H_

#include "base/kernel.h"

KSEG_KERNEL_BEGIN

// Memory that is asked for while tiles are computed, so that the next rows do not wait for it.
struct Ahead {
  static constexpr int kMost = 5;
  static constexpr int64_t kCacheLine = 64;
  const char* next[kMost];
  int64_t per_step[kMost];  // bytes
  int count = 0;
  int turn = 0;

  // A tile asks for what one of the ranges wants, in turn.
  void add(const void* from, int64_t bytes) {
    next[count] = static_cast<const char*>(from);
    per_step[count++] = bytes;
  }
  void share_out(int64_t tiles) {
    const int64_t turns = tiles / (count > 0 ? count : 1) + 1;
    for (int i = 0; i < count; ++i) per_step[i] = (per_step[i] / turns + kCacheLine - 1) / kCacheLine * kCacheLine;
  }
  __attribute__((always_inline)) void step() {
    if (count == 0) return;
    const char* at = next[turn];
    const char* const end = at + per_step[turn];
    for (; at < end; at += kCacheLine) __builtin_prefetch(at);
    next[turn] = end;
    turn = turn + 1 < count ? turn + 1 : 0;
  }
};

KSEG_KERNEL_END

#endif  // KSEG_OPS_RESIZE_SOFTMAX_CROSS_ENTROPY_AHEAD_H_
