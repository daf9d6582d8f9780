#include "ops/atrous_separable_conv2d/atrous_separable_conv2d.h"

#include <algorithm>
#include <vector>

#include "base/huge_pages.h"
#include "ops/atrous_separable_conv2d/atrous_separable_conv2d_check.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "base/depthwise.h"        // target code only
#include "base/depthwise_panel.h"  // target code only
#include "base/gemm.h"             // target code only

KSEG_KERNEL_BEGIN

template <class T>
Status atrous_separable_kernel(const View<const T, 4>& x, const SeparableFilters<T>& filters, const ConvAxis& rows,
                               const ConvAxis& columns, const View<T, 4>& output, const ParallelFor& parallel_for) {
  static_assert(kGemmDepth % kDepthwiseChunk == 0);
  const int64_t taps = rows.kernel * columns.kernel;
  const int64_t in_channels = x.shape[3], middle = filters.pointwise.shape[2], out_channels = output.shape[3];
  const auto given = [](const View<const float, 1>& view) { return view.empty() ? nullptr : view.data; };

  AlignedFloats depthwise(depthwise_packed_size(taps, middle));
  depthwise_pack(filters.depthwise.data, taps, middle, middle, 1, false, given(filters.depthwise_scale),
                 given(filters.depthwise_offset), depthwise.data());
  AlignedFloats pointwise(gemm_packed_size(middle, out_channels));
  gemm_pack(filters.pointwise.data, middle, out_channels, given(filters.scale), pointwise.data(), parallel_for);
  const PackedB b{pointwise.data(), middle, out_channels};
  const Epilogue epilogue{nullptr, given(filters.offset), filters.activation};

  const AtrousTiles tiles(rows, columns, x.shape[0]);
  const ChannelMap map{in_channels, 0, filters.depthwise.shape[3], 1};
  const int64_t cost = tiles.most_outputs * middle * (out_channels + 2 * taps) / kLanesF;
  run_workers(parallel_for, tiles.count(), 1, cost, [&](Pieces& pieces) {
    GemmScratch scratch(tiles.most_outputs, b, !std::is_same<T, float>::value);
    DepthwisePanel<T> depthwise_panel(x, tiles, map, depthwise.data(), middle, filters.depthwise_activation);
    std::vector<T*> outputs;
    std::vector<const T*> inputs, inputs_of_next;
    std::vector<const void*> soon;
    const auto list_inputs = [&](int64_t tile, std::vector<const T*>* pixels) {
      pixels->clear();
      if (tile >= tiles.count()) return;
      tiles.visit_inputs(tile, [&](int64_t pixel) { pixels->push_back(x.data + pixel * in_channels); });
    };
    for (int64_t tile, end_tile; pieces.take(&tile, &end_tile);) {
      for (; tile < end_tile; ++tile) {
        list_inputs(tile, &inputs);
        // While this one is multiplied, the other threads take a tile each.
        list_inputs(tile + parallel_for.useful_threads(), &inputs_of_next);
        outputs.clear();
        tiles.visit_outputs(tile, [&](int64_t pixel) { outputs.push_back(output.data + pixel * out_channels); });
        const auto fill = [&](int64_t first, int64_t count, float* panel) {
          depthwise_panel.fill(tile, first, count, panel);
        };
        const auto ahead = [&](int64_t first) {
          // What the next block of depth reads, or the first block of the next tile.
          const bool same_tile = first + kGemmDepth < middle;
          const int64_t depth = same_tile ? first + kGemmDepth : 0;
          const int64_t channel = depth / map.divide;
          soon.clear();
          for (const T* pixel : same_tile ? inputs : inputs_of_next) soon.push_back(pixel + channel);
          const int64_t channels = std::min(in_channels - channel, kGemmDepth / map.divide);
          return GemmAhead{soon.data(), static_cast<int64_t>(soon.size()), channels * static_cast<int64_t>(sizeof(T))};
        };
        gemm_tile(static_cast<int64_t>(outputs.size()), b, epilogue, /*add=*/false, outputs.data(), &scratch, fill,
                  ahead);
      }
    }
  });
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                                        \
  template Status atrous_separable_kernel<T>(const View<const T, 4>&, const SeparableFilters<T>&, const ConvAxis&, \
                                             const ConvAxis&, const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T>
                    Status atrous_separable_kernel(const View<const T, 4>&, const SeparableFilters<T>&, const ConvAxis&,
                                                   const ConvAxis&, const View<T, 4>&, const ParallelFor&))

template <class T>
Status atrous_separable_shape(const Shape<4>& x, const SeparableFilters<T>& filters, const ConvOptions& options,
                              Shape<4>* output) {
  ConvAxis rows, columns;
  return check_atrous_separable_sizes(x, filters, options, &rows, &columns, output);
}

template <class T>
Status atrous_separable_conv2d(const View<const T, 4>& x, const SeparableFilters<T>& filters,
                               const ConvOptions& options, const View<T, 4>& output, const ParallelFor& parallel_for) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(check_atrous_separable(x.shape, filters, options, output.shape, &rows, &columns));
  if (output.empty()) return Status();
  prefer_huge_pages(output.data, output.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(atrous_separable_kernel<T>, x, filters, rows, columns, output, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                                           \
  template KSEG_API Status atrous_separable_shape<T>(const Shape<4>&, const SeparableFilters<T>&, const ConvOptions&, \
                                                     Shape<4>*);                                                      \
  template KSEG_API Status atrous_separable_conv2d<T>(const View<const T, 4>&, const SeparableFilters<T>&,            \
                                                      const ConvOptions&, const View<T, 4>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
