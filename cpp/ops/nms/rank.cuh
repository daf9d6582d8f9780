// Ranks the candidates of each image, best first, on a GPU: tiles are sorted in shared memory, then runs are merged,
// many at a time, by counting for each key those before it in the other runs. Keys differ, so that this is a
// permutation.
#ifndef KSEG_OPS_NMS_RANK_CUH_
#define KSEG_OPS_NMS_RANK_CUH_

#include <cstdint>
#include <utility>

#include "base/cuda/launch.cuh"
#include "ops/nms/ranked_cuda.h"

namespace kseg {

// Of what is no candidate; above all keys of candidates.
inline constexpr uint64_t kNoKey = ~uint64_t{0};

// As RankedCandidates::key(): holds score and number, and the lower one is the better candidate.
KSEG_DEVICE uint64_t candidate_key(float score, uint32_t number) {
  const unsigned bits = __float_as_uint(score);
  const unsigned falling = bits >> 31 ? bits : ~bits & 0x7fffffffu;
  return static_cast<uint64_t>(falling) << 32 | number;
}
KSEG_DEVICE uint32_t key_number(uint64_t key) { return static_cast<uint32_t>(key); }
KSEG_DEVICE float key_score(uint64_t key) {
  const unsigned falling = static_cast<unsigned>(key >> 32);
  return __uint_as_float(falling >> 31 ? falling : ~falling & 0x7fffffffu);
}

// -0 and subnormal numbers as 0.
KSEG_DEVICE float plain_score(float score) { return (__float_as_uint(score) & 0x7f800000u) == 0 ? 0.0f : score; }

// source(image, number) is the key of a candidate or kNoKey.
template <class Source>
__global__ void __launch_bounds__(kMostBlockThreads)
    sort_tiles_kernel(Source source, int64_t units, int64_t tiles, int64_t candidates, int tile, uint64_t* keys,
                      int32_t* counts) {
  KSEG_DYNAMIC_SHARED(shared, uint64_t);
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t first = unit % tiles * tile;
    for (int i = thread; i < tile; i += threads) {
      shared[i] = first + i < candidates ? source(unit / tiles, first + i) : kNoKey;
    }
    __syncthreads();
    for (int size = 2; size <= tile; size *= 2) {
      for (int stride = size / 2; stride > 0; stride /= 2) {
        for (int pair = thread; pair < tile / 2; pair += threads) {
          const int at = 2 * pair - (pair & (stride - 1));
          const uint64_t low = shared[at], high = shared[at + stride];
          if ((low > high) == ((at & size) == 0)) {
            shared[at] = high;
            shared[at + stride] = low;
          }
        }
        __syncthreads();
      }
    }
    for (int i = thread; i < tile; i += threads) {
      const bool here = shared[i] != kNoKey;
      if (here) keys[unit * tile + i] = shared[i];
      if (here && (i + 1 == tile || shared[i + 1] == kNoKey)) counts[unit] = i + 1;
      if (!here && i == 0) counts[unit] = 0;
    }
    __syncthreads();  // before the next tile comes
  }
}

// Runs of `run` places, each with its candidates in front, to runs of `fan` times as many.
static __global__ void __launch_bounds__(256)
    merge_runs_kernel(const uint64_t* from, const int32_t* counts, int64_t total, int64_t places, int64_t run,
                      int64_t runs, int fan, uint64_t* to, int32_t* merged_counts) {
  const int64_t merged = ceil_div(runs, fan);
  for (int64_t i = global_thread(); i < total; i += global_threads()) {
    const int64_t image = i / places, own = i % places / run;
    const int64_t group = own / fan, first = group * fan, end = min(first + fan, runs);
    const int64_t within = i % places - own * run;
    const int32_t* const sizes = counts + image * runs;
    if (within == 0 && own == first) {
      int32_t sum = 0;
      for (int64_t other = first; other < end; ++other) sum += sizes[other];
      merged_counts[image * merged + group] = sum;
    }
    if (within >= sizes[own]) continue;
    const uint64_t key = from[i];
    int64_t rank = within;
    for (int64_t other = first; other < end; ++other) {
      if (other == own) continue;
      const uint64_t* const list = from + image * places + other * run;
      int low = 0, high = sizes[other];
      while (low < high) {
        const int middle = low + (high - low) / 2;
        if (list[middle] < key) {
          low = middle + 1;
        } else {
          high = middle;
        }
      }
      rank += low;
    }
    to[image * places + first * run + rank] = key;
  }
}

// Queues the ranking of `candidates` of each image.
template <class Source>
Status rank_candidates(const Source& source, int64_t images, int64_t candidates, const NmsPlan& plan,
                       const CudaContext& context, RankedCuda* ranked) {
  int64_t runs = std::max<int64_t>(ceil_div(candidates, plan.tile), 1);
  int64_t run = plan.tile;
  ranked->images = images;
  ranked->places = runs * run;
  uint64_t *keys = nullptr, *spare = nullptr;
  int32_t *counts = nullptr, *spare_counts = nullptr;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * ranked->places, &keys));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * runs, &counts));
  KSEG_RETURN_IF_ERROR(launch(
      &sort_tiles_kernel<Source>,
      blocks_for(images * runs, std::max(plan.tile / 2, kWarpSize), plan.tile * static_cast<int64_t>(sizeof(uint64_t))),
      context, source, images * runs, runs, candidates, plan.tile, keys, counts));
  if (runs > 1) {
    KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * ranked->places, &spare));
    KSEG_RETURN_IF_ERROR(context.scratch->allocate(images * ceil_div(runs, plan.fan), &spare_counts));
  }
  for (; runs > 1; run *= plan.fan, runs = ceil_div(runs, plan.fan)) {
    const int64_t total = images * ranked->places;
    KSEG_RETURN_IF_ERROR(launch(&merge_runs_kernel, threads_for(total), context, keys, counts, total, ranked->places,
                                run, runs, plan.fan, spare, spare_counts));
    std::swap(keys, spare);
    std::swap(counts, spare_counts);
  }
  ranked->keys = keys;
  ranked->counts = counts;
  return Status();
}

}  // namespace kseg

#endif  // KSEG_OPS_NMS_RANK_CUH_
