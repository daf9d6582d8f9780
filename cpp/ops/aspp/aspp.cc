#include "ops/aspp/aspp.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/huge_pages.h"
#include "ops/aspp/aspp_check.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "base/gemm.h"
#include "base/tap_gemm.h"  // target code only
#include "ops/aspp/aspp_depthwise.h"
#include "ops/aspp/aspp_pooling.h"

KSEG_KERNEL_BEGIN
namespace {

// Rows of a strip: base + i * stride.
std::vector<float*> rows_of(float* base, int64_t count, int64_t stride) {
  std::vector<float*> rows(count);
  for (int64_t i = 0; i < count; ++i) rows[i] = base + i * stride;
  return rows;
}

template <class T>
Epilogue epilogue_of(const AsppConvolution<T>& convolution) {
  return {convolution.scale.data, convolution.offset.data, convolution.activation};
}

template <class T>
int64_t work_per_pixel(const AsppArgs<T>& args) {
  int64_t work = 1;
  for (const AsppConvolution<T>& branch : args.branches) {
    work += (branch.filters.size() + branch.filters.shape[3] * args.output.shape[3]) / 16;
  }
  return work;
}

}  // namespace

template <class T>
Status aspp_kernel(const AsppArgs<T>& args, const ParallelFor& parallel_for) {
  constexpr bool kInPlace = std::is_same<T, float>::value;
  const auto [batch, height, width, channels] = args.x.shape;
  const int64_t columns = args.output.shape[3];
  const int64_t pixels = batch * height * width, image_pixels = height * width;

  int64_t branch_widest = 0, offset = 0;
  for (const AsppConvolution<T>& branch : args.branches) {
    branch_widest = std::max(branch_widest, branch.filters.shape[3]);
    offset += branch.filters.shape[3];
  }

  AlignedFloats bias(args.pooling.empty() ? 0 : batch * columns);
  if (!args.pooling.empty()) {
    const AsppConvolution<T>& pooling = args.pooling[0];
    pooled_bias(args.x, pooling.filters.data, pooling.filters.shape[3], epilogue_of(pooling),
                args.projection.filters.data + offset * columns, columns, bias.data(), parallel_for);
  }

  const int64_t strip = tap_strip_pixels(pixels, std::max(columns, branch_widest), parallel_for.max_threads());
  parallel_for.run((pixels + strip - 1) / strip, strip * work_per_pixel(args), [&](int64_t first, int64_t last) {
    TapScratch scratch;
    AlignedFloats branch_buffer(strip * branch_widest), buffer(kInPlace ? 0 : strip * columns);
    std::vector<const float*> from(kTapPanelRows);
    for (int64_t unit = first; unit < last; ++unit) {
      const int64_t begin = unit * strip, end = std::min(pixels, begin + strip), count = end - begin;
      float* to;
      if constexpr (kInPlace) {
        to = args.output.data + begin * columns;
      } else {
        to = buffer.data();
      }
      const std::vector<float*> projected = rows_of(to, count, columns);
      for (int64_t i = 0; i < count; ++i) {
        if (args.pooling.empty()) {
          std::fill_n(projected[i], columns, 0.0f);
        } else {
          std::copy_n(bias.data() + (begin + i) / image_pixels * columns, columns, projected[i]);
        }
      }
      const T* weights = args.projection.filters.data;
      for (const AsppConvolution<T>& branch : args.branches) {
        const int64_t outputs = branch.filters.shape[3];
        const std::vector<float*> sums = rows_of(branch_buffer.data(), count, outputs);
        std::fill_n(branch_buffer.data(), count * outputs, 0.0f);
        const View<const T, 4>& kernel = branch.separable ? branch.depthwise : branch.filters;
        ConvAxis rows, cols;
        // Checked before: this fills the axes in.
        (void)make_conv_axis("height", height, kernel.shape[0], branch.rate[0], Padding::kSame, &rows).ok();
        (void)make_conv_axis("width", width, kernel.shape[1], branch.rate[1], Padding::kSame, &cols).ok();
        if (branch.separable) {
          const Depthwise<T> depthwise{
              args.x.data, branch.depthwise.data,
              channels,    rows,
              cols,        {branch.depthwise_scale.data, branch.depthwise_offset.data, branch.depthwise_activation}};
          accumulate_product(count, branch.filters.data, channels, outputs, sums.data(), &scratch,
                             [&](int64_t row, int64_t panel_rows, int64_t from_depth, int64_t depth, float* panel) {
                               fill_depthwise(depthwise, begin + row, panel_rows, from_depth, depth, panel);
                             });
        } else {
          accumulate_convolution(args.x.data, channels, branch.filters.data, outputs, rows, cols, begin, end,
                                 sums.data(), &scratch);
        }
        for (int64_t i = 0; i < count; ++i) apply_epilogue(epilogue_of(branch), outputs, sums[i]);
        accumulate_product(count, weights, outputs, columns, projected.data(), &scratch,
                           [&](int64_t row, int64_t panel_rows, int64_t from_depth, int64_t depth, float* panel) {
                             for (int64_t i = 0; i < panel_rows; ++i) from[i] = sums[row + i] + from_depth;
                             gemm_fill_panel(from.data(), panel_rows, depth, panel);
                           });
        weights += outputs * columns;
      }
      for (int64_t i = 0; i < count; ++i) {
        apply_epilogue(epilogue_of(args.projection), columns, projected[i]);
        if constexpr (!kInPlace) gemm_store_row(projected[i], columns, args.output.data + (begin + i) * columns);
      }
    }
  });
  return Status();
}

#define KSEG_INSTANTIATE(T) template Status aspp_kernel<T>(const AsppArgs<T>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status aspp_kernel(const AsppArgs<T>&, const ParallelFor&))

template <class T>
Status check_aspp(const AsppArgs<T>& args) {
  return check_aspp_shapes(args);
}

template <class T>
Status aspp(const AsppArgs<T>& args, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_aspp_shapes(args));
  const Shape<4> expected{args.x.shape[0], args.x.shape[1], args.x.shape[2], args.projection.filters.shape[3]};
  if (args.output.shape != expected) {
    return invalid_argument("the output must have shape ", to_string<4>(expected), ", got ",
                            to_string<4>(args.output.shape));
  }
  if (args.output.empty()) return Status();
  prefer_huge_pages(args.output.data, args.output.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(aspp_kernel<T>, args, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                   \
  template KSEG_API Status check_aspp<T>(const AsppArgs<T>&); \
  template KSEG_API Status aspp<T>(const AsppArgs<T>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
