// Up to 64 classes pixels are counted in shared memory, in several tables per block if they are small. What a warp
// meets is mostly one pair of classes, which is added once. Up to kTileClasses classes, the logits of some pixels are
// copied to shared memory in whole vectors and each pixel is searched by one thread; more are searched by several
// threads side by side, and equal pairs that follow each other are added together.
//
// Reckoning on an H200: 8 x 512 x 512 x 150 logits are 1.26 GB, 0.26 ms at 4.8 TB/s; per pixel and warp some 55
// instructions, 43 bytes per clock and multiprocessor where memory gives 21. Classes of 1 to 4 bytes: 2 to 8 bytes for
// some 6 instructions per pixel and a quarter of an addition at most.
#include "ops/confusion_matrix/confusion_matrix_cuda.h"

#include <algorithm>
#include <cstdint>

#include "base/cuda/launch.cuh"
#include "base/cuda/vector.cuh"
#include "ops/confusion_matrix/confusion_matrix_check.h"

namespace kseg {
namespace {

constexpr int kThreads = 256;
constexpr int kTileClasses = 32;
constexpr int kAtOnce = 4;  // pixels of a thread, where predictions are classes
constexpr int kRunPixels = 16;  // one after the other that the same threads search
constexpr int64_t kTableBytes = 16 << 10;
constexpr int64_t kMostBlockPixels = int64_t{1} << 30;  // a count in shared memory has 32 bits

struct ConfusionParams {
  ConfusionInput labels;
  ConfusionInput predictions;
  int64_t pixels;
  int64_t* counts;
  int64_t ignore_index;
  int channels;
  int classes;
  int tables;  // per block in shared memory; 0: counts are added where they belong
  int lanes;   // threads for each pixel, of the search through many logits
  bool has_ignore_index;
  bool aligned;  // vectors may be read
};

// -- counting
// ----------------------------------------------------------------------------------------------------------

using Count = unsigned long long;

struct Counter {
  unsigned* table;  // of this warp; null: none
  int64_t* counts;

  KSEG_DEVICE void add(int cell, unsigned count) const {
    if (cell < 0) return;
    if (table != nullptr) {
      atomicAdd(table + cell, count);
    } else {
      atomicAdd(reinterpret_cast<Count*>(counts) + cell, static_cast<Count>(count));
    }
  }
  // The whole warp calls it.
  KSEG_DEVICE void add_one_each(int cell) const {
    if (__all_sync(kFullMask, cell == __shfl_sync(kFullMask, cell, 0))) {
      if (lane_index() == 0) add(cell, kWarpSize);
    } else {
      add(cell, 1);
    }
  }
};

KSEG_DEVICE int cells_of(const ConfusionParams& params) { return params.classes * params.classes; }

// The block calls it; shared: params.tables tables.
KSEG_DEVICE Counter open_tables(const ConfusionParams& params, unsigned* shared) {
  const int size = params.tables * cells_of(params);
  for (int i = static_cast<int>(threadIdx.x); i < size; i += kThreads) shared[i] = 0;
  __syncthreads();
  return {params.tables == 0 ? nullptr : shared + warp_index() % params.tables * cells_of(params), params.counts};
}

KSEG_DEVICE void close_tables(const ConfusionParams& params, const unsigned* shared) {
  __syncthreads();
  const int cells = cells_of(params);
  for (int cell = static_cast<int>(threadIdx.x); cell < cells && params.tables > 0; cell += kThreads) {
    unsigned total = 0;
    for (int table = 0; table < params.tables; ++table) total += shared[table * cells + cell];
    if (total > 0) atomicAdd(reinterpret_cast<Count*>(params.counts) + cell, static_cast<Count>(total));
  }
}

// -- labels and predicted classes
// --------------------------------------------------------------------------------------

// A class, or -1.
KSEG_DEVICE int checked_class(int64_t value, int classes) {
  return value >= 0 && value < classes ? static_cast<int>(value) : -1;
}
KSEG_DEVICE int checked_label(const ConfusionParams& params, int64_t value) {
  return params.has_ignore_index && value == params.ignore_index ? -1 : checked_class(value, params.classes);
}

// `count` integers from `first` on, which is a multiple of it; 0 past the end.
template <class T, int count>
KSEG_DEVICE void load_integers(const void* data, int64_t first, const ConfusionParams& params,
                               int64_t (&values)[count]) {
  const T* const from = static_cast<const T*>(data) + first;
  if (count > 1 && params.aligned && first + count <= params.pixels) {
    constexpr int kPiece = sizeof(T) * count <= 16 ? count : 16 / static_cast<int>(sizeof(T));
#pragma unroll
    for (int piece = 0; piece < count; piece += kPiece) {
      const auto packed = *reinterpret_cast<const Packed<T, kPiece>*>(from + piece);
#pragma unroll
      for (int i = 0; i < kPiece; ++i) values[piece + i] = packed.element[i];
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < count; ++i) values[i] = first + i < params.pixels ? static_cast<int64_t>(from[i]) : 0;
}

template <int count>
KSEG_DEVICE void load_any_integers(const ConfusionInput& input, int64_t first, const ConfusionParams& params,
                                   int64_t (&values)[count]) {
  switch (input.type) {
    case ConfusionInput::Type::kUint8:
      return load_integers<uint8_t>(input.data, first, params, values);
    case ConfusionInput::Type::kInt8:
      return load_integers<int8_t>(input.data, first, params, values);
    case ConfusionInput::Type::kUint16:
      return load_integers<uint16_t>(input.data, first, params, values);
    case ConfusionInput::Type::kInt64:
      return load_integers<int64_t>(input.data, first, params, values);
    default:
      return load_integers<int32_t>(input.data, first, params, values);
  }
}

KSEG_DEVICE int label_at(const ConfusionParams& params, int64_t pixel) {
  int64_t value[1];
  load_any_integers(params.labels, pixel, params, value);
  return checked_label(params, value[0]);
}

KSEG_DEVICE int cell_of(const ConfusionParams& params, int label, int predicted) {
  return label < 0 || predicted < 0 ? -1 : label * params.classes + predicted;
}

__global__ void __launch_bounds__(kThreads) count_classes_kernel(const __grid_constant__ ConfusionParams params) {
  KSEG_DYNAMIC_SHARED(shared, unsigned);
  const Counter counter = open_tables(params, shared);
  constexpr int64_t kPiece = kThreads * kAtOnce;
  for (int64_t begin = blockIdx.x * kPiece; begin < params.pixels; begin += gridDim.x * kPiece) {
    const int64_t first = begin + threadIdx.x * kAtOnce;
    int64_t labels[kAtOnce] = {}, predictions[kAtOnce] = {};
    if (first < params.pixels) {
      load_any_integers(params.labels, first, params, labels);
      load_any_integers(params.predictions, first, params, predictions);
    }
    int cells[kAtOnce];
    bool alike = true;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      cells[i] = first + i < params.pixels
                     ? cell_of(params, checked_label(params, labels[i]), checked_class(predictions[i], params.classes))
                     : -1;
      alike = alike && cells[i] == cells[0];
    }
    const int others = __shfl_sync(kFullMask, cells[0], 0);
    if (__all_sync(kFullMask, alike && cells[0] == others)) {
      if (lane_index() == 0) counter.add(others, kWarpSize * kAtOnce);
      continue;
    }
    unsigned run = 0;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      ++run;
      if (i + 1 < kAtOnce && cells[i] == cells[i + 1]) continue;
      counter.add(cells[i], run);
      run = 0;
    }
  }
  close_tables(params, shared);
}

// -- logits
// ------------------------------------------------------------------------------------------------------------

constexpr float kLowest = -INFINITY;

template <class T>
__global__ void __launch_bounds__(kThreads) count_few_logits_kernel(const __grid_constant__ ConfusionParams params) {
  KSEG_DYNAMIC_SHARED(shared, uint4);
  const int channels = params.channels;
  // The tile first: it wants vectors to lie aligned.
  T* const tile = reinterpret_cast<T*>(shared);
  unsigned* const tables = reinterpret_cast<unsigned*>(tile + kThreads * channels);
  const Counter counter = open_tables(params, tables);
  const T* const logits = static_cast<const T*>(params.predictions.data);
  for (int64_t begin = static_cast<int64_t>(blockIdx.x) * kThreads; begin < params.pixels;
       begin += static_cast<int64_t>(gridDim.x) * kThreads) {
    const int pixels = static_cast<int>(min(static_cast<int64_t>(kThreads), params.pixels - begin));
    const int elements = pixels * channels;
    const T* const from = logits + begin * channels;
    int copied = 0;
    if (params.aligned) {
      constexpr int kVector = kVectorElements<T>;
      const uint4* const vectors = reinterpret_cast<const uint4*>(from);
      for (int i = static_cast<int>(threadIdx.x); i < elements / kVector; i += kThreads) shared[i] = vectors[i];
      copied = elements / kVector * kVector;
    }
    for (int i = copied + static_cast<int>(threadIdx.x); i < elements; i += kThreads) tile[i] = from[i];
    __syncthreads();
    const int pixel = static_cast<int>(threadIdx.x);
    int cell = -1;
    if (pixel < pixels) {
      int winner = 0;
      if (channels == 1) {
        winner = params.classes == 2 && widen(tile[pixel]) > 0.0f ? 1 : 0;
      } else {
        // Neighbours begin at other classes, so that they read other banks.
        float most = kLowest;
        winner = channels;
        int which = pixel % channels;
        for (int i = 0; i < channels; ++i) {
          const float value = widen(tile[pixel * channels + which]);
          if (value > most || (value == most && which < winner)) {
            most = value;
            winner = which;
          }
          if (++which == channels) which = 0;
        }
        if (most == kLowest) winner = 0;
      }
      cell = cell_of(params, label_at(params, begin + pixel), winner);
    }
    counter.add_one_each(cell);
    __syncthreads();  // the tile has been read
  }
  close_tables(params, tables);
}

template <class T>
__global__ void __launch_bounds__(kThreads, 4)
    count_many_logits_kernel(const __grid_constant__ ConfusionParams params) {
  KSEG_DYNAMIC_SHARED(shared, unsigned);
  const Counter counter = open_tables(params, shared);
  const int lanes = params.lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  const int64_t piece = kThreads / lanes * kRunPixels;
  const T* const logits = static_cast<const T*>(params.predictions.data);
  for (int64_t begin = blockIdx.x * piece; begin < params.pixels; begin += gridDim.x * piece) {
    const int64_t first = begin + threadIdx.x / lanes * kRunPixels;
    int met = -1;  // what the last pixels gave, and how many
    unsigned run = 0;
#pragma unroll 2
    for (int i = 0; i < kRunPixels; ++i) {
      const int64_t pixel = first + i;
      float most = kLowest;
      int winner = params.channels;
      if (pixel < params.pixels) {
        const T* const from = logits + pixel * params.channels;
#pragma unroll 8
        for (int which = lane; which < params.channels; which += lanes) {
          const float value = widen(from[which]);
          if (value > most) {
            most = value;
            winner = which;
          }
        }
      }
      for (int step = lanes / 2; step > 0; step /= 2) {
        const float value = __shfl_xor_sync(kFullMask, most, step);
        const int which = __shfl_xor_sync(kFullMask, winner, step);
        if (value > most || (value == most && which < winner)) {
          most = value;
          winner = which;
        }
      }
      if (lane != 0 || pixel >= params.pixels) continue;
      const int cell = cell_of(params, label_at(params, pixel), most == kLowest ? 0 : winner);
      if (cell != met) {
        counter.add(met, run);
        met = cell;
        run = 0;
      }
      ++run;
    }
    counter.add(met, run);
  }
  close_tables(params, shared);
}

// Each block clears its tables and adds them up once.
int64_t most_blocks(const ConfusionParams& params) {
  return std::max<int64_t>(8 * multiprocessors(), ceil_div(params.pixels, kMostBlockPixels));
}

template <class T>
Status count_logits(ConfusionParams params, const CudaContext& context) {
  const bool few = params.channels <= kTileClasses;
  params.lanes = params.channels <= 64 ? 16 : kWarpSize;
  const int64_t pieces = ceil_div(params.pixels, few ? kThreads : kThreads / params.lanes * kRunPixels);
  const int64_t bytes = int64_t{4} * params.tables * params.classes * params.classes +
                        (few ? static_cast<int64_t>(sizeof(T)) * kThreads * params.channels : 0);
  LaunchShape shape = blocks_for(pieces, kThreads, bytes);
  shape.grid.x = std::min(shape.grid.x, most_blocks(params));
  return few ? launch(&count_few_logits_kernel<T>, shape, context, params)
             : launch(&count_many_logits_kernel<T>, shape, context, params);
}

Status count_classes(const ConfusionParams& params, const CudaContext& context) {
  LaunchShape shape = blocks_for(ceil_div(params.pixels, kThreads * kAtOnce), kThreads,
                                 int64_t{4} * params.tables * params.classes * params.classes);
  shape.grid.x = std::min(shape.grid.x, most_blocks(params));
  return launch(&count_classes_kernel, shape, context, params);
}

bool is_aligned(const void* data, int64_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

}  // namespace

Status confusion_matrix_cuda(const ConfusionMatrixArgs& args, const CudaContext& context) {
  KSEG_RETURN_IF_ERROR(check_confusion_arguments(args));
  KSEG_RETURN_IF_ERROR(fill_bytes(args.counts.data, 0, args.counts.size(), context));
  ConfusionParams params{};
  params.labels = args.labels;
  params.predictions = args.predictions;
  params.pixels = args.pixels;
  params.counts = args.counts.data;
  params.ignore_index = args.ignore_index;
  params.has_ignore_index = args.has_ignore_index;
  params.channels = static_cast<int>(args.channels);
  params.classes = static_cast<int>(args.counts.shape[0]);
  params.aligned = is_aligned(args.labels.data, 16) && is_aligned(args.predictions.data, 16);
  const int64_t table = int64_t{4} * params.classes * params.classes;
  // Larger tables would leave a multiprocessor with few threads.
  params.tables = static_cast<int>(std::min<int64_t>(kTableBytes / table, kThreads / kWarpSize));
  switch (args.predictions.type) {
    case ConfusionInput::Type::kFloat:
      return count_logits<float>(params, context);
    case ConfusionInput::Type::kHalf:
      return count_logits<Half>(params, context);
    case ConfusionInput::Type::kBFloat16:
      return count_logits<BFloat16>(params, context);
    case ConfusionInput::Type::kDouble:
      return invalid_argument("logits must be float32, float16 or bfloat16 on a GPU");
    default:
      return count_classes(params, context);
  }
}

}  // namespace kseg
