// Connected components. A segment is a run of foreground within a word of 32 pixels; sets of segments, not of pixels,
// are what is joined. A segment's number rises in raster order and of two sets the one with the lower number absorbs
// the other, so that a set's root is the segment with its first pixel, whatever the order in which sets met.
//
// 1. A block makes words of a tile of 32 rows and 256 columns, joins its segments in shared memory and writes the words
//    and for each segment its root.
// 2. A thread for each word joins what touches across the borders of tiles.
// 3. Roots are found and counted, 1024 words at a time; 4. one block per image sums the counts;
// 5. roots get their labels; 6. pixels get those of their roots.
//
// Reckoning for 8 masks of 1024 x 2048, 16.8 million pixels: 17 MB of masks and 67 MB of labels are 17 us at 4.8 TB/s.
// Words are an eighth of a byte a pixel and are read four times, 8 MB, out of L2; parents, of which masks of objects
// have few, are read there as well. Shared memory: 18 KB a block, 256 threads. Chains of segments from tile to tile are
// as long as the image has rows of tiles at most, and end in L2, at some 0.3 us a step: 10 us for 1024 rows. 35 us in
// all.
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/reduce.cuh"
#include "ops/connected_components/connected_components_check.h"
#include "ops/connected_components/connected_components_cuda.h"
#include "ops/mask_iou/dense_bits.cuh"

namespace kseg {
namespace {

constexpr int kThreads = 256;
constexpr int kTileRows = 32;
constexpr int kTileWords = 8;
constexpr int kTileSlots = kTileWords * kWarpSize / 2;  // of a row: a segment begins every other pixel at most
constexpr int kChunkWords = 4 * kThreads;

struct Components {
  const uint8_t* masks;
  int64_t images, height, width;
  int64_t words;  // of a row
  int64_t slots;  // of a row: a segment that begins at pixel x is number y * slots + x / 2
  bool aligned;  // rows of masks, to 16 bytes
  bool corners;  // touch as sides do
  int64_t chunks;  // of an image
  uint32_t* bits;  // [images, height, words]
  int32_t* parents;  // [images, height * slots]: a lower or the same number; from label_roots() on minus a root's label
  int32_t* starts;  // [images, chunks]: roots of a chunk, then of those before it
  int32_t* labels;
  int32_t* counts;
};

// Where the run of a word begins that holds pixel `at`, and its pixels.
KSEG_DEVICE int run_start(uint32_t bits, int at) {
  const uint32_t gaps = ~bits & ((1u << at) - 1u);
  return kWarpSize - __clz(static_cast<int>(gaps));
}
KSEG_DEVICE uint32_t run_from(uint32_t bits, int start) {
  const uint32_t gaps = ~(bits >> start);
  const int length = gaps == 0 ? kWarpSize : __ffs(static_cast<int>(gaps)) - 1;
  return (length >= kWarpSize ? ~0u : (1u << length) - 1u) << start;
}
// Calls visit(start) for the runs of a word.
template <class Visit>
KSEG_DEVICE void for_runs(uint32_t bits, const Visit& visit) {
  for (uint32_t starts = bits & ~(bits << 1); starts != 0; starts &= starts - 1) {
    visit(__ffs(static_cast<int>(starts)) - 1);
  }
}

// Others link sets at the same time: what is read here may be a parent of before, which leads to the same set.
KSEG_DEVICE int32_t find_root(const int32_t* parents, int32_t number) {
  const volatile int32_t* const now = parents;
  for (;;) {
    const int32_t parent = now[number];
    if (parent == number) return number;
    number = parent;
  }
}
KSEG_DEVICE void join(int32_t* parents, int32_t a, int32_t b) {
  for (;;) {
    a = find_root(parents, a);
    b = find_root(parents, b);
    if (a == b) return;
    const int32_t high = max(a, b), low = min(a, b);
    const int32_t before = atomicMin(&parents[high], low);
    if (before == high) return;
    a = before;  // somebody else has linked it: its set and that of `low` are to be one
    b = low;
  }
}

// A word and those around it: to the left, above, above to the left and to the right.
struct Neighbours {
  uint32_t own, left, above, above_left, above_right;
};

// Joins the runs of a word with the runs above that touch them. number(row, word, start) names a segment; row -1 is
// above.
template <class Number>
KSEG_DEVICE void join_above(int32_t* parents, const Neighbours& near, bool corners, const Number& number) {
  const bool goes_left = (near.own & 1u) != 0 && near.left >> 31 != 0;
  const bool above_goes_left = (near.above & 1u) != 0 && near.above_left >> 31 != 0;
  for_runs(near.own, [&](int start) {
    const uint32_t run = run_from(near.own, start);
    uint32_t touch = near.above & (corners ? run | run << 1 | run >> 1 : run);
    while (touch != 0) {
      const int above = run_start(near.above, __ffs(static_cast<int>(touch)) - 1);
      touch &= ~run_from(near.above, above);
      // Both come from the word to the left and have met there.
      if (start == 0 && above == 0 && goes_left && above_goes_left) continue;
      join(parents, number(0, 0, start), number(-1, 0, above));
    }
  });
}
// Joins it with what touches its corners from the words beside, unless that is done by joining with the word above.
template <class Number>
KSEG_DEVICE void join_corner_left(int32_t* parents, const Neighbours& near, const Number& number) {
  if ((near.own & 1u) != 0 && near.above_left >> 31 != 0 && (near.above & 1u) == 0 && near.left >> 31 == 0) {
    join(parents, number(0, 0, 0), number(-1, -1, run_start(near.above_left, kWarpSize - 1)));
  }
}
template <class Number>
KSEG_DEVICE void join_corner_right(int32_t* parents, const Neighbours& near, const Number& number) {
  if (near.own >> 31 != 0 && (near.above_right & 1u) != 0 && near.above >> 31 == 0) {
    join(parents, number(0, 0, run_start(near.own, kWarpSize - 1)), number(-1, 1, 0));
  }
}

__global__ void __launch_bounds__(kThreads) join_tiles_kernel(const __grid_constant__ Components p) {
  KSEG_SHARED(tile, uint32_t[kTileRows + 1][kTileWords + 2]);  // with background above and beside
  KSEG_SHARED(parents, int32_t[kTileRows * kTileSlots]);
  const int thread = static_cast<int>(threadIdx.x), row = thread / kTileWords, word = thread % kTileWords;
  const int64_t tiles_across = ceil_div(p.words, kTileWords), tiles_down = ceil_div(p.height, kTileRows);
  for (int64_t unit = blockIdx.x; unit < p.images * tiles_down * tiles_across; unit += gridDim.x) {
    const int64_t image = unit / tiles_across / tiles_down;
    const int64_t y = unit / tiles_across % tiles_down * kTileRows + row;
    const int64_t at = unit % tiles_across * kTileWords + word;
    const bool inside = y < p.height && at < p.words;
    uint32_t own = 0;
    if (inside) {
      own = dense_word(p.masks + (image * p.height + y) * p.width, p.width, at, p.aligned);
      p.bits[(image * p.height + y) * p.words + at] = own;
    }
    __syncthreads();  // the tile of before is done
    tile[row + 1][word + 1] = own;
    if (thread < kTileWords + 2) tile[0][thread] = 0;
    if (word == 0) tile[row + 1][0] = tile[row + 1][kTileWords + 1] = 0;
    __syncthreads();
    const Neighbours near{own, tile[row + 1][word], tile[row][word + 1], tile[row][word], tile[row][word + 2]};
    const auto number = [&](int down, int across, int start) {
      return (row + down) * kTileSlots + (word + across) * (kWarpSize / 2) + start / 2;
    };
    for_runs(own, [&](int start) {
      const bool goes_on = start == 0 && near.left >> 31 != 0;
      parents[number(0, 0, start)] = goes_on ? number(0, -1, run_start(near.left, kWarpSize - 1)) : number(0, 0, start);
    });
    __syncthreads();
    join_above(parents, near, p.corners, number);
    if (p.corners) {
      join_corner_left(parents, near, number);
      join_corner_right(parents, near, number);
    }
    __syncthreads();
    const int64_t first = (y - row) * p.slots + (at - word) * (kWarpSize / 2);  // number of the tile's first pixel
    int32_t* const to = p.parents + image * p.height * p.slots;
    for_runs(own, [&](int start) {
      const int32_t root = find_root(parents, number(0, 0, start));
      to[y * p.slots + at * (kWarpSize / 2) + start / 2] =
          static_cast<int32_t>(first + root / kTileSlots * p.slots + root % kTileSlots);
    });
  }
}

__global__ void __launch_bounds__(kThreads) join_borders_kernel(const __grid_constant__ Components p) {
  const int64_t total = p.images * p.height * p.words;
  for (int64_t i = global_thread(); i < total; i += global_threads()) {
    const uint32_t own = p.bits[i];
    if (own == 0) continue;
    const int64_t word = i % p.words, y = i / p.words % p.height;
    const bool top = y > 0 && y % kTileRows == 0;
    const bool left = word > 0 && word % kTileWords == 0;
    const bool right = word + 1 < p.words && word % kTileWords == kTileWords - 1;
    if (!(top || left || right)) continue;
    const uint32_t* const bits = p.bits + i;
    Neighbours near{own, 0, 0, 0, 0};
    if (word > 0) near.left = bits[-1];
    if (y > 0) {
      near.above = bits[-p.words];
      if (word > 0) near.above_left = bits[-p.words - 1];
      if (word + 1 < p.words) near.above_right = bits[-p.words + 1];
    }
    int32_t* const parents = p.parents + i / p.words / p.height * p.height * p.slots;
    const auto number = [&](int down, int across, int start) {
      return static_cast<int32_t>((y + down) * p.slots + (word + across) * (kWarpSize / 2) + start / 2);
    };
    if (left && (own & 1u) != 0 && near.left >> 31 != 0) {
      join(parents, number(0, 0, 0), number(0, -1, run_start(near.left, kWarpSize - 1)));
    }
    if (top) join_above(parents, near, p.corners, number);
    if (p.corners && (top || left)) join_corner_left(parents, near, number);
    if (p.corners && (top || right)) join_corner_right(parents, near, number);
  }
}

// Thread t of a block takes words 4 t up to 4 t + 3 of a chunk; calls visit(number) in order for the segments that
// begin there.
template <class Visit>
KSEG_DEVICE void for_segments(const Components& p, int64_t image, int64_t chunk, const Visit& visit) {
  constexpr int kOwn = kChunkWords / kThreads;
  const uint32_t* const bits = p.bits + image * p.height * p.words;
  const int64_t begin = chunk * kChunkWords + static_cast<int64_t>(threadIdx.x) * kOwn;
  const int64_t end = min(begin + kOwn, p.height * p.words);
  if (begin >= end) return;
  int64_t y = begin / p.words, word = begin % p.words;
  for (int64_t i = begin; i < end; ++i) {
    const int64_t first = y * p.slots + word * (kWarpSize / 2);
    for_runs(bits[i], [&](int start) { visit(static_cast<int32_t>(first + start / 2)); });
    if (++word == p.words) {
      word = 0;
      ++y;
    }
  }
}

__global__ void __launch_bounds__(kThreads) count_roots_kernel(const __grid_constant__ Components p) {
  for (int64_t unit = blockIdx.x; unit < p.images * p.chunks; unit += gridDim.x) {
    const int64_t image = unit / p.chunks;
    int32_t* const parents = p.parents + image * p.height * p.slots;
    int32_t roots = 0;
    for_segments(p, image, unit % p.chunks, [&](int32_t number) {
      const int32_t root = find_root(parents, number);
      if (root == number) {
        ++roots;
      } else {
        parents[number] = root;
      }
    });
    roots = block_reduce<kThreads>(roots, Add());
    if (threadIdx.x == 0) p.starts[unit] = roots;
  }
}

__global__ void __launch_bounds__(kThreads) sum_roots_kernel(const __grid_constant__ Components p) {
  for (int64_t image = blockIdx.x; image < p.images; image += gridDim.x) {
    int32_t* const starts = p.starts + image * p.chunks;
    int32_t before = 0;
    for (int64_t first = 0; first < p.chunks; first += kThreads) {
      const int64_t i = first + threadIdx.x;
      int32_t total;
      const int32_t start = block_exclusive_sum<kThreads>(i < p.chunks ? starts[i] : 0, &total);
      if (i < p.chunks) starts[i] = before + start;
      before += total;
    }
    if (threadIdx.x == 0) p.counts[image] = before;
  }
}

__global__ void __launch_bounds__(kThreads) label_roots_kernel(const __grid_constant__ Components p) {
  for (int64_t unit = blockIdx.x; unit < p.images * p.chunks; unit += gridDim.x) {
    const int64_t image = unit / p.chunks;
    int32_t* const parents = p.parents + image * p.height * p.slots;
    const auto for_roots = [&](const auto& visit) {
      for_segments(p, image, unit % p.chunks, [&](int32_t number) {
        if (parents[number] == number) visit(number);
      });
    };
    int32_t roots = 0, total;
    for_roots([&](int32_t) { ++roots; });
    int32_t label = p.starts[unit] + block_exclusive_sum<kThreads>(roots, &total);
    if (roots > 0) for_roots([&](int32_t number) { parents[number] = -++label; });
  }
}

// A thread writes `count` labels side by side; rows are multiples of that. Rows are counted in 32 bits from the first
// one of a block's share on.
template <int count>
__global__ void __launch_bounds__(kThreads) paint_kernel(const __grid_constant__ Components p) {
  constexpr unsigned kShare = 4 * kThreads;
  const int64_t total = p.images * p.height * (p.width / count);
  const unsigned row_vectors = static_cast<unsigned>(p.width / count), height = static_cast<unsigned>(p.height);
  for (int64_t begin = blockIdx.x * int64_t{kShare}; begin < total; begin += gridDim.x * int64_t{kShare}) {
    const int64_t first_row = begin / row_vectors, first_image = first_row / height;
    const unsigned offset = static_cast<unsigned>(begin % row_vectors);
    const unsigned first_y = static_cast<unsigned>(first_row % height);
    const unsigned share = static_cast<unsigned>(min(int64_t{kShare}, total - begin));
#pragma unroll 2
    for (unsigned i = threadIdx.x; i < share; i += kThreads) {
      const unsigned down = (offset + i) / row_vectors, x = (offset + i) % row_vectors * count;
      const uint32_t bits = p.bits[(first_row + down) * p.words + x / kWarpSize];
      int32_t label[count] = {};
      if (bits != 0) {
        const int64_t image = first_image + (first_y + down) / height;
        const int32_t* const parents = p.parents + image * p.height * p.slots;
        const int64_t first = (first_y + down) % height * p.slots + x / kWarpSize * (kWarpSize / 2);
#pragma unroll
        for (int at = 0; at < count; ++at) {
          const int pixel = static_cast<int>(x % kWarpSize) + at;
          if ((bits >> pixel & 1u) == 0) continue;
          if (at > 0 && label[at - 1] != 0) {
            label[at] = label[at - 1];
            continue;
          }
          int32_t parent = parents[first + run_start(bits, pixel) / 2];
          if (parent >= 0) parent = parents[parent];
          label[at] = -parent;
        }
      }
      if constexpr (count == 4) {
        reinterpret_cast<int4*>(p.labels)[begin + i] = make_int4(label[0], label[1], label[2], label[3]);
      } else {
        p.labels[begin + i] = label[0];
      }
    }
  }
}

}  // namespace

Status connected_components_cuda(const ConnectedComponentsArgs& args, const CudaContext& context) {
  Components p{};
  int connectivity = 0;
  KSEG_RETURN_IF_ERROR(check_connected_components(args.masks.shape, args.connectivity, &connectivity));
  if (args.labels.shape != args.masks.shape || args.counts.shape[0] != args.masks.shape[0]) {
    return invalid_argument("labels must have the shape of masks, ", to_string<3>(args.masks.shape),
                            ", and counts one entry per image; got ", to_string<3>(args.labels.shape), " and ",
                            to_string<1>(args.counts.shape));
  }
  if (args.masks.empty()) return fill_bytes(args.counts.data, 0, args.counts.size(), context);
  p.masks = args.masks.data;
  p.images = args.masks.shape[0];
  p.height = args.masks.shape[1];
  p.width = args.masks.shape[2];
  p.words = ceil_div(p.width, kWarpSize);
  p.slots = ceil_div(p.width, 2);
  p.aligned = rows_are_aligned_to_16(p.masks, p.width);
  p.corners = connectivity == 8;
  p.chunks = ceil_div(p.height * p.words, kChunkWords);
  p.labels = args.labels.data;
  p.counts = args.counts.data;
  const int64_t total = p.images * p.height * p.words;
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(total, &p.bits));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(p.images * p.height * p.slots, &p.parents));
  KSEG_RETURN_IF_ERROR(context.scratch->allocate(p.images * p.chunks, &p.starts));
  const int64_t tiles = p.images * ceil_div(p.height, kTileRows) * ceil_div(p.words, kTileWords);
  KSEG_RETURN_IF_ERROR(launch(&join_tiles_kernel, blocks_for(tiles, kThreads), context, p));
  KSEG_RETURN_IF_ERROR(launch(&join_borders_kernel, threads_for(total, kThreads), context, p));
  KSEG_RETURN_IF_ERROR(launch(&count_roots_kernel, blocks_for(p.images * p.chunks, kThreads), context, p));
  KSEG_RETURN_IF_ERROR(launch(&sum_roots_kernel, blocks_for(p.images, kThreads), context, p));
  KSEG_RETURN_IF_ERROR(launch(&label_roots_kernel, blocks_for(p.images * p.chunks, kThreads), context, p));
  const bool vectors = p.width % 4 == 0 && reinterpret_cast<uintptr_t>(p.labels) % 16 == 0;
  const auto shape = [&](int64_t count) {
    return blocks_for(ceil_div(args.labels.size() / count, 4 * kThreads), kThreads);
  };
  return vectors ? launch(&paint_kernel<4>, shape(4), context, p) : launch(&paint_kernel<1>, shape(1), context, p);
}

}  // namespace kseg
