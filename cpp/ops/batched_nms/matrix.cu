// Matrix NMS: all pairs of a candidate and a better one of its group, twice, and a ranking by the lowered scores. The
// largest of non-negative floats is that of their bits, so that blocks can join their parts by an atomic maximum in any
// order.
//
// Reckoning for 8 images of 12,000 candidates: 576 million pairs, twice, at some 15 instructions each: 0.6 ms on 132
// multiprocessors at 1.7 GHz. Memory plays no part.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "ops/batched_nms/batched_nms_cuda.h"
#include "ops/batched_nms/decay.cuh"
#include "ops/nms/box.cuh"
#include "ops/nms/rank.cuh"

namespace kseg {
namespace {

constexpr int kPairThreads = 128;

enum class Pass { kMostIou, kGaussian, kLinear };

struct MatrixPass {
  RankedCuda ranked;
  CudaRankedBoxes boxes;
  int64_t tiles;
  int splits;
  float* most;  // [images, places]: the largest IoU with a better one
  float* worst;  // [images, places]: the exponent's numerator, or the decay; at first 0 or 1
};

__global__ void __launch_bounds__(256) begin_kernel(int64_t total, float first_worst, float* most, float* worst) {
  for (int64_t i = global_thread(); i < total; i += global_threads()) {
    most[i] = 0.0f;
    worst[i] = first_worst;
  }
}

// What a better box does: of kMostIou the IoU, else what `worst` is the extreme of.
template <Pass pass>
KSEG_DEVICE float join_pair(float value, float iou, float compensation) {
  if (pass == Pass::kMostIou) return fmaxf(iou, value);
  if (pass == Pass::kGaussian) return fmaxf(iou * iou - compensation * compensation, value);
  const float decay = (1.0f - iou) / (1.0f - compensation);  // 0 / 0 counts for nothing
  return decay < value ? decay : value;
}

template <Pass pass>
__global__ void __launch_bounds__(kPairThreads) matrix_kernel(const __grid_constant__ MatrixPass p) {
  KSEG_SHARED(corners, float4[kPairThreads]);
  KSEG_SHARED(areas, float[kPairThreads]);
  KSEG_SHARED(groups, int32_t[kPairThreads]);
  KSEG_SHARED(compensations, float[kPairThreads]);
  const int thread = static_cast<int>(threadIdx.x);
  const int64_t units = p.ranked.images * p.tiles * p.splits;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t image = unit / p.splits / p.tiles, own_tile = unit / p.splits % p.tiles;
    const int64_t count = p.ranked.counts[image], base = image * p.ranked.places;
    const int64_t i = own_tile * kPairThreads + thread;
    if (own_tile * kPairThreads >= count) continue;
    float4 own = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    float own_area = 0.0f;
    int32_t own_group = 0;
    if (i < count) {
      own = reinterpret_cast<const float4*>(p.boxes.corners)[base + i];
      own_area = p.boxes.areas[2 * (base + i)];
      own_group = p.boxes.groups[base + i];
    }
    const float start = pass == Pass::kLinear ? 1.0f : 0.0f;
    float value = start;
    for (int64_t tile = unit % p.splits; tile <= own_tile; tile += p.splits) {
      const int64_t other = tile * kPairThreads + thread;
      __syncthreads();  // the tile of before has been compared with
      corners[thread] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      areas[thread] = compensations[thread] = 0.0f;
      groups[thread] = 0;
      if (other < count) {
        corners[thread] = reinterpret_cast<const float4*>(p.boxes.corners)[base + other];
        areas[thread] = p.boxes.areas[2 * (base + other)];
        groups[thread] = p.boxes.groups[base + other];
        if (pass != Pass::kMostIou) compensations[thread] = p.most[base + other];
      }
      __syncthreads();
      const int better = tile < own_tile ? kPairThreads : thread;
#pragma unroll 4
      for (int j = 0; j < better; ++j) {
        const float intersection = box_intersection(own, corners[j]);
        if (!(intersection > 0.0f) || groups[j] != own_group) continue;
        value = join_pair<pass>(value, box_iou(intersection, own_area, areas[j]), compensations[j]);
      }
    }
    if (i < count && value != start) {
      float* const to = (pass == Pass::kMostIou ? p.most : p.worst) + base + i;
      if (pass == Pass::kLinear) {
        atomicMin(reinterpret_cast<int*>(to), __float_as_int(value));
      } else {
        atomicMax(reinterpret_cast<int*>(to), __float_as_int(value));
      }
    }
  }
}

// By the lowered scores. Candidates are numbered by their ranks here; the keys hold the numbers that they had.
struct LoweredKeys {
  RankedCuda ranked;
  const float* worst;
  bool gaussian;
  float inverse_sigma;
  float score_threshold;

  KSEG_DEVICE uint64_t operator()(int64_t image, int64_t rank) const {
    if (rank >= ranked.counts[image]) return kNoKey;
    const int64_t at = image * ranked.places + rank;
    const float decay = gaussian ? gaussian_decay(worst[at], inverse_sigma) : worst[at];
    const float score = key_score(ranked.keys[at]) * decay;
    return score > score_threshold ? candidate_key(score, key_number(ranked.keys[at])) : kNoKey;
  }
};

}  // namespace

Status rank_by_matrix_cuda(const RankedCuda& ranked, const CudaRankedBoxes& boxes, const BatchedNmsOptions& options,
                           float score_threshold, int64_t candidates, const NmsPlan& plan, const CudaContext& context,
                           RankedCuda* lowered) {
  const bool gaussian = options.method == NmsMethod::kMatrixGaussian;
  const int64_t total = ranked.images * ranked.places;
  MatrixPass p{};
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(total, &p.most));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(total, &p.worst));
  KSEG_RETURN_IF_ERROR(
      launch(&begin_kernel, threads_for(total), context, total, gaussian ? 0.0f : 1.0f, p.most, p.worst));
  p.ranked = ranked;
  p.boxes = boxes;
  p.tiles = ceil_div(candidates, kPairThreads);
  const int64_t wanted = ceil_div(32 * int64_t{multiprocessors()}, std::max<int64_t>(ranked.images * p.tiles, 1));
  p.splits = static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max<int64_t>(p.tiles, 1)));
  const LaunchShape shape = blocks_for(ranked.images * p.tiles * p.splits, kPairThreads);
  KSEG_RETURN_IF_ERROR(launch(&matrix_kernel<Pass::kMostIou>, shape, context, p));
  KSEG_RETURN_IF_ERROR(
      launch(gaussian ? &matrix_kernel<Pass::kGaussian> : &matrix_kernel<Pass::kLinear>, shape, context, p));
  const LoweredKeys keys{ranked, p.worst, gaussian, 1.0f / options.sigma, score_threshold};
  return rank_candidates(keys, ranked.images, candidates, plan, context, lowered);
}

}  // namespace kseg
