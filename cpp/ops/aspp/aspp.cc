#include "ops/aspp/aspp.h"

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/huge_pages.h"
#include "ops/aspp/aspp_check.h"
// Last: these switch the instruction set.
#include "base/kernel.h"
#include "base/gemm.h"
#include "ops/aspp/aspp_branches.h"  // target code only
#include "ops/aspp/aspp_pooling.h"   // target code only

KSEG_KERNEL_BEGIN

// Branch by branch, each adding its share of the projection to every pixel: an element is the bias of the pooled branch
// and then one sum after the other, in the order of the branches.
template <class T>
Status aspp_kernel(const AsppArgs<T>& args, const ParallelFor& parallel_for) {
  constexpr bool kInPlace = std::is_same<T, float>::value;
  const int64_t columns = args.output.shape[3], pixels = args.output.size() / columns;
  const int64_t batch = args.x.shape[0], image_pixels = pixels / batch;
  const T* weights = args.projection.filters.data;
  int64_t branch_channels = 0;
  for (const AsppConvolution<T>& branch : args.branches) branch_channels += branch.filters.shape[3];

  AlignedFloats bias(batch * columns), buffer(kInPlace ? 0 : pixels * columns);
  if (args.pooling.empty()) {
    std::fill_n(bias.data(), batch * columns, 0.0f);
  } else {
    const AsppConvolution<T>& pooling = args.pooling[0];
    pooled_bias(args.x, pooling.filters.data, pooling.filters.shape[3], epilogue_of(pooling),
                weights + branch_channels * columns, columns, bias.data(), parallel_for);
  }
  float* projected;
  if constexpr (kInPlace) {
    projected = args.output.data;
  } else {
    projected = buffer.data();
  }
  parallel_for.run(pixels, columns / 4, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::copy_n(bias.data() + i / image_pixels * columns, columns, projected + i * columns);
    }
  });
  for (const AsppConvolution<T>& branch : args.branches) {
    if (branch.separable) {
      add_separable_branch(args.x, branch, weights, columns, projected, parallel_for);
    } else {
      add_dense_branch(args.x, branch, weights, columns, projected, parallel_for);
    }
    weights += branch.filters.shape[3] * columns;
  }
  parallel_for.run(pixels, columns / 2, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      apply_epilogue(epilogue_of(args.projection), columns, projected + i * columns);
      if constexpr (!kInPlace) gemm_store_row(projected + i * columns, columns, args.output.data + i * columns);
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
  KSEG_RETURN_IF_ERROR(check_aspp_args(args));
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
