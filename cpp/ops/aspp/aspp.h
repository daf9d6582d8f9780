// Atrous spatial pyramid pooling (Chen et al. 2017, "Rethinking Atrous Convolution for Semantic Image Segmentation"):
// convolutions of several rates over one map, the map's mean as one more branch, and a projection of them all. One
// pass over strips of pixels; neither a branch nor their concatenation ever exists as a whole.
#ifndef KSEG_OPS_ASPP_ASPP_H_
#define KSEG_OPS_ASPP_ASPP_H_

#include <array>
#include <cstdint>
#include <vector>

#include "base/conv_axis.h"
#include "base/gemm_types.h"
#include "base/half.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// activation(convolution * scale + offset), padded to keep the size.
template <class T>
struct AsppConvolution {
  View<const T, 4> filters;    // [kh, kw, C, F]; of a separable branch [1, 1, C, F]
  View<const float, 1> scale;  // [F]
  View<const float, 1> offset;
  Activation activation = Activation::kNone;
  std::array<int64_t, 2> rate{1, 1};  // rows, columns

  // A separable branch has these in front, at its rate.
  bool separable = false;
  View<const T, 4> depthwise;            // [kh, kw, C, 1]
  View<const float, 1> depthwise_scale;  // [C]
  View<const float, 1> depthwise_offset;
  Activation depthwise_activation = Activation::kNone;
};

template <class T>
struct AsppArgs {
  View<const T, 4> x;  // [B, H, W, C]
  std::vector<AsppConvolution<T>> branches;
  std::vector<AsppConvolution<T>> pooling;  // none or one, 1 x 1: of the mean over each image
  AsppConvolution<T> projection;  // 1 x 1, from the channels of the branches in order, those of pooling last
  View<T, 4> output;  // [B, H, W, F]
};

// Everything but the output, which may not exist yet.
template <class T>
KSEG_API Status check_aspp(const AsppArgs<T>& args);

// Sums are float32, in an order that does not depend on the number of threads; between the layers nothing is rounded
// to T. T: float, Half, BFloat16.
template <class T>
KSEG_API Status aspp(const AsppArgs<T>& args, const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_ASPP_ASPP_H_
