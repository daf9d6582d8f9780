// A block has a tile of cells between source pixels. It first finds the winner of each source pixel: where the four of
// a cell have the same, so have all outputs of the cell. Only if some cell of the tile is different, the source pixels
// go to shared memory, and every thread goes through all classes for a few outputs side by side.
//
// Reckoning for 8 x 128 x 128 x 150 to 512 x 512 on an H200: the logits are 79 MB, read once from memory and once more
// from L2 by tiles with a contour in them, and the classes 8 MB: 0.02 ms at 4.8 TB/s. Interpolation takes 5
// instructions for each of 315 M values, 0.06 ms if no tile could do without.
#include <algorithm>
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/resize_cells.cuh"
#include "base/cuda/vector.cuh"
#include "ops/resize_argmax/resize_argmax_check.h"
#include "ops/resize_argmax/resize_argmax_cuda.h"

namespace kseg {
namespace {

constexpr int kThreads = kCellThreads;
constexpr float kLargest = 1e30f;
constexpr int64_t kMostPerAxis = int64_t{1} << 24;
constexpr int kMostTilePixels = (kMostCellTile + 1) * (kMostCellTile + 1);

KSEG_DEVICE float tame(float value) {  // a NaN becomes the least
  return fminf(fmaxf(value, -kLargest), kLargest);
}

struct Winner {
  float value;
  int which;
};

KSEG_DEVICE void offer(float value, int which, Winner* winner) {
  if (value > winner->value || (value == winner->value && which < winner->which)) *winner = {value, which};
}

// The winners of a tile's source pixels; a group of `lanes` neighbouring threads of a warp has one at a time.
template <class T>
KSEG_DEVICE void find_winners(const CellTiles& tiles, const CellOrigin& origin, const T* logits, int classes,
                              int* winners) {
  int lanes = 1;
  while (lanes < kWarpSize && 4 * lanes < classes) lanes *= 2;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const int across = tiles.tile_columns + 1;
  for (int first = 0; first < tiles.pixels(); first += kThreads / lanes) {  // the same for all: they shuffle
    const int i = first + static_cast<int>(threadIdx.x) / lanes;
    Winner winner{-3e38f, classes};
    if (i < tiles.pixels()) {
      const int64_t pixel =
          source_pixel(tiles.rows, tiles.columns, origin.image, origin.y + i / across, origin.x + i % across);
      const T* const from = logits + pixel * classes;
#pragma unroll 4
      for (int which = lane; which < classes; which += lanes) {
        const float value = tame(widen(from[which]));
        if (value > winner.value) winner = {value, which};
      }
    }
    for (int step = lanes / 2; step > 0; step /= 2) {
      const float value = __shfl_xor_sync(kFullMask, winner.value, step);
      const int which = __shfl_xor_sync(kFullMask, winner.which, step);
      offer(value, which, &winner);
    }
    if (i < tiles.pixels() && lane == 0) winners[i] = winner.which;
  }
}

template <class T, int kRun>
__global__ void __launch_bounds__(kThreads, 4)
    argmax_kernel(const __grid_constant__ CellTiles tiles, const T* logits, int classes, int32_t* to) {
  KSEG_SHARED(tile, CellTile);
  KSEG_SHARED(winners, int[kMostTilePixels]);
  KSEG_DYNAMIC_SHARED(values, float);
  const int64_t blocks = tiles.blocks();
  for (int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    __syncthreads();  // the tile and the winners of before have been read
    const CellOrigin origin = enter_tile(tiles, block, &tile);
    find_winners(tiles, origin, logits, classes, winners);
    __syncthreads();
    const CellUnit<kRun> unit = unit_of<kRun>(tiles, tile, origin.part);
    const int* const corner = winners + unit.down * (tiles.tile_columns + 1) + unit.right;
    const int* const below = corner + tiles.tile_columns + 1;
    const bool mixed = unit.active && !(corner[0] == corner[1] && corner[0] == below[0] && corner[0] == below[1]);
    float most[kRun];
    int best[kRun];
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      most[j] = -3e38f;
      best[j] = corner[0];
    }
    if (__syncthreads_or(mixed)) {
      const CellCorners corners = corners_of(tiles, unit, values);
      for (int begin = 0; begin < classes; begin += tiles.chunk) {
        const int count = min(tiles.chunk, classes - begin);
        stage_tile(tiles, origin, count, values, [&](int64_t pixel) {
          const T* const from = logits + pixel * classes + begin;
          return [from](int which) { return tame(widen(from[which])); };
        });
        if (!mixed) continue;
#pragma unroll 2
        for (int i = 0; i < count; ++i) {
          interpolate(corners, i, unit, [&](int j, float value) {
            if (value > most[j]) {
              most[j] = value;
              best[j] = begin + i;
            }
          });
        }
      }
    }
    int32_t* const out = to + (origin.image * tiles.rows.out_size + unit.row) * tiles.columns.out_size + unit.column;
#pragma unroll
    for (int j = 0; j < kRun; ++j) {
      if (j < unit.count) out[j] = best[j];
    }
  }
}

}  // namespace

template <class T>
Status resize_argmax_cuda(const ResizeArgmaxArgs<T>& args, const CudaContext& context) {
  const Shape<4>& logits = args.logits.shape;
  const Shape<3>& classes = args.classes.shape;
  KSEG_RETURN_IF_ERROR(check_resize_argmax(logits, classes));
  if (std::max({logits[1], logits[2], logits[3], classes[1], classes[2]}) > kMostPerAxis) {
    return invalid_argument("logits and size must have at most 2^24 rows, columns and classes on a GPU, got shape ",
                            to_string<4>(logits), " and size ", classes[1], " x ", classes[2]);
  }
  if (args.classes.empty()) return Status();
  if (logits[3] == 1) return fill_bytes(args.classes.data, 0, args.classes.size(), context);
  const CellTiles tiles = cell_tiles(logits[0], resize_axis(logits[1], classes[1], args.align_corners),
                                     resize_axis(logits[2], classes[2], args.align_corners), logits[3]);
  const int count = static_cast<int>(logits[3]);
  const auto run = [&](auto* kernel) {
    return launch(kernel, tiles.launch(), context, tiles, args.logits.data, count, args.classes.data);
  };
  if (tiles.run == 4) return run(&argmax_kernel<T, 4>);
  if (tiles.run == 2) return run(&argmax_kernel<T, 2>);
  return run(&argmax_kernel<T, 1>);
}

#define KSEG_INSTANTIATE(T) template KSEG_API Status resize_argmax_cuda(const ResizeArgmaxArgs<T>&, const CudaContext&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
