// Depthwise dilated convolution of a tile (base/atrous.h) into the panels of a matrix product (base/gemm.h). Opens the
// target as kernel.h does, so it is included last.
#ifndef KSEG_BASE_DEPTHWISE_PANEL_H_
#define KSEG_BASE_DEPTHWISE_PANEL_H_

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "base/atrous.h"
#include "base/gemm_types.h"
#include "base/view.h"
#include "base/kernel.h"

#include "base/depthwise.h"
#include "base/depthwise_direct.h"
#include "base/gemm.h"
#include "base/gemm_activate.h"

KSEG_KERNEL_BEGIN

// activation(depthwise convolution) of a map, block of channels by block. What every task needs for itself.
template <class T>
class DepthwisePanel {
 public:
  // `filters` as depthwise_pack makes them of `channels` channels; `map` says which channel of x each of these reads.
  DepthwisePanel(const View<const T, 4>& x, const AtrousTiles& tiles, const ChannelMap& map, const float* filters,
                 int64_t channels, Activation activation)
      : x_(x),
        tiles_(tiles),
        map_(map),
        filters_(filters),
        channels_(channels),
        activation_(activation),
        direct_(direct_clamp(activation, &clamp_) && map.divide == 1 && map.stride == 1 && map.offset == 0 &&
                direct_fits(tiles.row_axis) && direct_fits(tiles.column_axis)),
        block_(direct_ && channels % kDepthwiseChunk == 0 ? 0 : tiles.most_inputs * kDepthwiseChunk) {}

  // panel[output * kGemmStride + i] = channel first + i, i < count, for the outputs of a tile in order. `first` is a
  // multiple of kDepthwiseChunk.
  void fill(int64_t tile, int64_t first, int64_t count, float* panel) {
    const T* const image = x_.data + tiles_.image_of(tile) * x_.shape[1] * x_.shape[2] * x_.shape[3];
    const int64_t chunks = direct_ ? count / kDepthwiseChunk : 0;
    if (chunks > 0) {
      float* to = panel;
      tiles_.visit_pairs(tile, [&](const AtrousPiece& rows, const AtrousPiece& columns) {
        convolve_pieces_direct(image + first, tiles_, rows, columns, map_.pixel_stride, filters_of(first), chunks,
                               clamp_, to, kGemmStride);
        to += rows.count * columns.count * kGemmStride;
      });
    }
    for (int64_t i = chunks * kDepthwiseChunk; i < count; i += kDepthwiseChunk) {
      fill_chunk(image, tile, first + i, panel + i);
    }
  }

 private:
  const float* filters_of(int64_t channel) const {
    return filters_ + channel * (tiles_.row_axis.kernel * tiles_.column_axis.kernel + 1);
  }

  void fill_chunk(const T* image, int64_t tile, int64_t first, float* to) {
    const int64_t count = std::min(channels_ - first, kDepthwiseChunk);
    const int vectors = static_cast<int>((count + kLanesF - 1) / kLanesF);
    tiles_.visit_pairs(tile, [&](const AtrousPiece& rows, const AtrousPiece& columns) {
      gather_inputs(image, tiles_, rows, columns, map_, first, count, block_.data(), &padding_);
      const auto convolve = [&](auto activation) {
        convolve_pieces(
            block_.data(), tiles_, rows, columns, filters_of(first), vectors,
            [&](int64_t p, int v, VecF sum) { store(to + p * kGemmStride + v * kLanesF, activate(sum, activation)); });
      };
      switch (activation_) {
        case Activation::kNone:
          convolve(std::integral_constant<Activation, Activation::kNone>());
          break;
        case Activation::kRelu:
          convolve(std::integral_constant<Activation, Activation::kRelu>());
          break;
        default:
          convolve(activation_);
      }
      to += rows.count * columns.count * kGemmStride;
    });
  }

  const View<const T, 4> x_;
  const AtrousTiles& tiles_;
  const ChannelMap map_;
  const float* const filters_;
  const int64_t channels_;
  const Activation activation_;
  DirectClamp clamp_;
  const bool direct_;
  AlignedFloats block_;
  BlockPadding padding_;
};

KSEG_KERNEL_END

#endif  // KSEG_BASE_DEPTHWISE_PANEL_H_
