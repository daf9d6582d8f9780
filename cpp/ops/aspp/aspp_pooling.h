// The image-pooling branch of ASPP: what it adds to every pixel of an image before the projection's affine map. Opens
// the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_ASPP_ASPP_POOLING_H_
#define KSEG_OPS_ASPP_ASPP_POOLING_H_

#include <algorithm>
#include <cstdint>

#include "base/gemm_types.h"
#include "base/parallel_for.h"
#include "base/view.h"

#include "base/kernel.h"

#include "base/gemm.h"

KSEG_KERNEL_BEGIN
namespace {

inline constexpr int64_t kPoolingChunk = 64;

// to[0..count) += factor * from[0..count).
template <class T>
KSEG_INLINE void add_scaled(const T* from, float factor, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + kLanesF <= count; i += kLanesF) store(to + i, load(to + i) + splat(factor) * load_float(from + i));
  for (; i < count; ++i) to[i] += factor * to_float(from[i]);
}

// Calls body(image, first, count) on chunks of up to kPoolingChunk columns: the cut does not depend on the threads.
template <class Body>
void for_chunks(int64_t images, int64_t columns, int64_t rows, const ParallelFor& parallel_for, const Body& body) {
  const int64_t chunks = (columns + kPoolingChunk - 1) / kPoolingChunk;
  parallel_for.run(images * chunks, rows * kPoolingChunk / 4, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t first = unit % chunks * kPoolingChunk;
      body(unit / chunks, first, std::min(columns - first, kPoolingChunk));
    }
  });
}

// to [images, columns] = from [images, depth] * matrix [depth, columns].
template <class T>
void multiply_rows(const float* from, int64_t images, int64_t depth, const T* matrix, int64_t columns, float* to,
                   const ParallelFor& parallel_for) {
  for_chunks(images, columns, depth, parallel_for, [&](int64_t image, int64_t first, int64_t count) {
    float total[kPoolingChunk] = {};
    for (int64_t k = 0; k < depth;) {
      float sums[kPoolingChunk] = {};
      for (const int64_t end = std::min(k + kGemmChain, depth); k < end; ++k) {
        add_scaled(matrix + k * columns + first, from[image * depth + k], count, sums);
      }
      add_scaled(sums, 1.0f, count, total);
    }
    std::copy_n(total, count, to + image * columns + first);
  });
}

// bias [B, columns] = epilogue(mean over pixels * filters [C, F]) * projection [F, columns].
template <class T>
void pooled_bias(const View<const T, 4>& x, const T* filters, int64_t outputs, const Epilogue& epilogue,
                 const T* projection, int64_t columns, float* bias, const ParallelFor& parallel_for) {
  const auto [batch, height, width, channels] = x.shape;
  AlignedFloats mean(batch * channels), pooled(batch * outputs);
  const int64_t row_count = height, row_size = width;
  const int64_t depth = channels;
  for_chunks(batch, channels, height * width, parallel_for, [&](int64_t image, int64_t first, int64_t count) {
    // Row by row: a sum of sums has a smaller error than one long sum.
    float total[kPoolingChunk] = {};
    for (int64_t y = 0; y < row_count; ++y) {
      float sums[kPoolingChunk] = {};
      const T* from = x.data + (image * row_count + y) * row_size * depth + first;
      for (int64_t column = 0; column < row_size; ++column, from += depth) add_scaled(from, 1.0f, count, sums);
      add_scaled(sums, 1.0f, count, total);
    }
    const float pixels = static_cast<float>(row_count * row_size);
    for (int64_t i = 0; i < count; ++i) mean.data()[image * depth + first + i] = total[i] / pixels;
  });
  multiply_rows(mean.data(), batch, channels, filters, outputs, pooled.data(), parallel_for);
  for (int64_t image = 0; image < batch; ++image) apply_epilogue(epilogue, outputs, pooled.data() + image * outputs);
  multiply_rows(pooled.data(), batch, outputs, projection, columns, bias, parallel_for);
}

}  // namespace
KSEG_KERNEL_END

#endif  // KSEG_OPS_ASPP_ASPP_POOLING_H_
