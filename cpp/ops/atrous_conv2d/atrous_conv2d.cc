#include "ops/atrous_conv2d/atrous_conv2d.h"

#include <algorithm>
#include <vector>

#include "base/huge_pages.h"
#include "ops/atrous_conv2d/atrous_conv2d_check.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "base/gemm.h"
#include "base/tap_gemm.h"  // target code only

KSEG_KERNEL_BEGIN

template <class T>
Status atrous_conv2d_kernel(const AtrousConv2dArgs<T>& args, const ConvAxis& rows, const ConvAxis& columns,
                            const ParallelFor& parallel_for) {
  constexpr bool kInPlace = std::is_same<T, float>::value;
  const int64_t channels = args.x.shape[3], filters = args.output.shape[3];
  const int64_t pixels = args.output.size() / filters;
  const int64_t strip = tap_strip_pixels(pixels, filters, parallel_for.max_threads());
  const int64_t cost = strip * filters * channels * rows.kernel * columns.kernel / 16;
  const Epilogue epilogue{args.scale.empty() ? nullptr : args.scale.data,
                          args.offset.empty() ? nullptr : args.offset.data, args.activation};
  parallel_for.run((pixels + strip - 1) / strip, cost, [&](int64_t strip_begin, int64_t strip_end) {
    TapScratch scratch;
    AlignedFloats buffer(kInPlace ? 0 : strip * filters);
    std::vector<float*> sums(strip);
    for (int64_t unit = strip_begin; unit < strip_end; ++unit) {
      const int64_t begin = unit * strip, end = std::min(pixels, begin + strip);
      float* to;
      if constexpr (kInPlace) {
        to = args.output.data + begin * filters;
      } else {
        to = buffer.data();
      }
      for (int64_t i = 0; i < end - begin; ++i) sums[i] = to + i * filters;
      std::fill_n(to, (end - begin) * filters, 0.0f);
      accumulate_convolution(args.x.data, channels, args.filters.data, filters, rows, columns, begin, end, sums.data(),
                             &scratch);
      for (int64_t i = 0; i < end - begin; ++i) {
        if (!epilogue.empty()) apply_epilogue(epilogue, filters, sums[i]);
        if constexpr (!kInPlace) gemm_store_row(sums[i], filters, args.output.data + (begin + i) * filters);
      }
    }
  });
  return Status();
}

#define KSEG_INSTANTIATE(T)                                                                             \
  template Status atrous_conv2d_kernel<T>(const AtrousConv2dArgs<T>&, const ConvAxis&, const ConvAxis&, \
                                          const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status atrous_conv2d_kernel(const AtrousConv2dArgs<T>&, const ConvAxis&,
                                                                   const ConvAxis&, const ParallelFor&))

Status atrous_conv2d_shape(const Shape<4>& x, const Shape<4>& filters, const ConvOptions& options, Shape<4>* output) {
  ConvAxis rows, columns;
  return check_atrous_conv2d_sizes(x, filters, options, &rows, &columns, output);
}

template <class T>
Status atrous_conv2d(const AtrousConv2dArgs<T>& args, const ParallelFor& parallel_for) {
  ConvAxis rows, columns;
  KSEG_RETURN_IF_ERROR(check_atrous_conv2d(args, &rows, &columns));
  if (args.output.empty()) return Status();
  prefer_huge_pages(args.output.data, args.output.size() * static_cast<int64_t>(sizeof(T)));
  KSEG_RETURN_DISPATCH(atrous_conv2d_kernel<T>, args, rows, columns, parallel_for);
}

#define KSEG_INSTANTIATE(T) template KSEG_API Status atrous_conv2d<T>(const AtrousConv2dArgs<T>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif  // KSEG_DISPATCH_HERE
