// CUDA's warp operations on the CPU. cuda_names.h includes it.
#ifndef KSEG_BASE_CUDA_HOST_CUDA_WARP_H_
#define KSEG_BASE_CUDA_HOST_CUDA_WARP_H_

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/cuda/host/emulation.h"

namespace kseg::emulation {

struct Exchange {
  uint64_t value = 0;
  int source = 0;  // lane; -1: the own value
  uint64_t result = 0;
};

enum class Shuffle { kIndex, kUp, kDown, kXor };

template <Shuffle kind>
void exchange(Lanes& lanes) {
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!lanes.takes_part(lane)) continue;
    Exchange& own = *static_cast<Exchange*>(lanes.operand[lane]);
    const int source = own.source < 0 ? lane : own.source;
    if (lanes.takes_part(source)) {
      own.result = static_cast<const Exchange*>(lanes.operand[source])->value;
    } else {
      std::memset(&own.result, settings().poison, sizeof own.result);
    }
  }
}

template <Shuffle kind, class T>
T shuffle(Site site, unsigned mask, T value, int argument, int width = kWarpSize) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  if (width < 1 || width > kWarpSize || (width & (width - 1)) != 0) fail("a shuffle's width is no power of two", site);
  Exchange operand;
  std::memcpy(&operand.value, &value, sizeof value);
  const int own = lane(), begin = own / width * width;
  switch (kind) {
    case Shuffle::kIndex:
      operand.source = begin + (argument & (width - 1));
      break;
    case Shuffle::kUp:
      operand.source = own - argument < begin ? -1 : own - argument;
      break;
    case Shuffle::kDown:
      operand.source = own + argument >= begin + width ? -1 : own + argument;
      break;
    case Shuffle::kXor:
      operand.source = (own ^ argument) >= begin + width ? -1 : own ^ argument;
      break;
  }
  warp_operation(mask, &exchange<kind>, &operand, site);
  T result;
  std::memcpy(&result, &operand.result, sizeof result);
  return result;
}

// An operand of which every lane gets the same or a like result.
template <class T, class Result>
struct Vote {
  T value;
  Result result;
};

enum class Voting { kBallot, kAny, kAll };

template <Voting kind>
void count_votes(Lanes& lanes) {
  using Operand = Vote<bool, unsigned>;
  unsigned votes = 0, present = 0;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!lanes.takes_part(lane)) continue;
    present |= 1u << lane;
    if (static_cast<const Operand*>(lanes.operand[lane])->value) votes |= 1u << lane;
  }
  const unsigned result = kind == Voting::kBallot ? votes : kind == Voting::kAny ? votes != 0 : votes == present;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (lanes.takes_part(lane)) static_cast<Operand*>(lanes.operand[lane])->result = result;
  }
}
template <Voting kind>
unsigned vote(Site site, unsigned mask, bool predicate) {
  Vote<bool, unsigned> operand{predicate, 0};
  warp_operation(mask, &count_votes<kind>, &operand, site);
  return operand.result;
}

template <class T>
void find_matches(Lanes& lanes) {
  using Operand = Vote<T, unsigned>;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!lanes.takes_part(lane)) continue;
    Operand& own = *static_cast<Operand*>(lanes.operand[lane]);
    for (int other = 0; other < kWarpSize; ++other) {
      if (lanes.takes_part(other) && static_cast<const Operand*>(lanes.operand[other])->value == own.value) {
        own.result |= 1u << other;
      }
    }
  }
}
template <class T>
unsigned match_any(Site site, unsigned mask, T value) {
  Vote<T, unsigned> operand{value, 0};
  warp_operation(mask, &find_matches<T>, &operand, site);
  return operand.result;
}

struct Sum {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(a + b);
  }
};
struct Least {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Greatest {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct Either {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};

template <class T, class Join>
void reduce_lanes(Lanes& lanes) {
  using Operand = Vote<T, T>;
  T total{};
  bool first = true;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (!lanes.takes_part(lane)) continue;
    const T value = static_cast<const Operand*>(lanes.operand[lane])->value;
    total = first ? value : Join()(total, value);
    first = false;
  }
  for (int lane = 0; lane < kWarpSize; ++lane) {
    if (lanes.takes_part(lane)) static_cast<Operand*>(lanes.operand[lane])->result = total;
  }
}
template <class Join, class T>
T reduce(Site site, unsigned mask, T value) {
  static_assert(sizeof(T) == 4 && !std::is_floating_point<T>::value, "as on the device: int and unsigned");
  Vote<T, T> operand{value, T{}};
  warp_operation(mask, &reduce_lanes<T, Join>, &operand, site);
  return operand.result;
}

inline void nothing(Lanes&) {}
struct WarpBarrier {
  Site site;

  void wait(unsigned mask = 0xffffffffu) const {
    int operand = 0;
    warp_operation(mask, &nothing, &operand, site);
  }
};

}  // namespace kseg::emulation

#define __shfl_sync(...) ::kseg::emulation::shuffle<::kseg::emulation::Shuffle::kIndex>(KSEG_SITE, __VA_ARGS__)
#define __shfl_up_sync(...) ::kseg::emulation::shuffle<::kseg::emulation::Shuffle::kUp>(KSEG_SITE, __VA_ARGS__)
#define __shfl_down_sync(...) ::kseg::emulation::shuffle<::kseg::emulation::Shuffle::kDown>(KSEG_SITE, __VA_ARGS__)
#define __shfl_xor_sync(...) ::kseg::emulation::shuffle<::kseg::emulation::Shuffle::kXor>(KSEG_SITE, __VA_ARGS__)
#define __ballot_sync(mask, predicate) \
  ::kseg::emulation::vote<::kseg::emulation::Voting::kBallot>(KSEG_SITE, mask, (predicate) != 0)
#define __any_sync(mask, predicate) \
  static_cast<int>(::kseg::emulation::vote<::kseg::emulation::Voting::kAny>(KSEG_SITE, mask, (predicate) != 0))
#define __all_sync(mask, predicate) \
  static_cast<int>(::kseg::emulation::vote<::kseg::emulation::Voting::kAll>(KSEG_SITE, mask, (predicate) != 0))
#define __match_any_sync(mask, value) ::kseg::emulation::match_any(KSEG_SITE, mask, value)
#define __reduce_add_sync(mask, value) ::kseg::emulation::reduce<::kseg::emulation::Sum>(KSEG_SITE, mask, value)
#define __reduce_min_sync(mask, value) ::kseg::emulation::reduce<::kseg::emulation::Least>(KSEG_SITE, mask, value)
#define __reduce_max_sync(mask, value) ::kseg::emulation::reduce<::kseg::emulation::Greatest>(KSEG_SITE, mask, value)
#define __reduce_or_sync(mask, value) ::kseg::emulation::reduce<::kseg::emulation::Either>(KSEG_SITE, mask, value)
#define __syncwarp ::kseg::emulation::WarpBarrier{KSEG_SITE}.wait

#endif  // KSEG_BASE_CUDA_HOST_CUDA_WARP_H_
