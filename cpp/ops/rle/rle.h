// Run-length encoded masks as COCO has them: the lengths of runs of pixels in column-major order, the first of zeros,
// then of ones and zeros in turn; and their compressed text form. No TensorFlow op: the codecs serve files and
// evaluation.
#ifndef KSEG_OPS_RLE_RLE_H_
#define KSEG_OPS_RLE_RLE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/parallel_for.h"
#include "base/status.h"
#include "base/target.h"
#include "base/view.h"

namespace kseg {

// Run lengths are 32-bit numbers in COCO's own library, and positions are int there.
inline constexpr int64_t kMostRlePixels = (int64_t{1} << 31) - 1;
// Five times a coordinate, and the difference of two such numbers, are int there.
inline constexpr double kMostPolygonCoordinate = 67108864.0;  // 2**26

struct Rle {
  int64_t height = 0;
  int64_t width = 0;
  std::vector<uint32_t> counts;  // they sum to height * width; runs of length 0 may occur anywhere
};

// Sides that are not negative, at most kMostRlePixels pixels.
KSEG_API Status check_rle_size(int64_t height, int64_t width);

// A mask as somebody else holds it: compressed text, or run lengths if that is null.
struct RleSource {
  int64_t height = 0;
  int64_t width = 0;
  const char* text = nullptr;
  const int64_t* counts = nullptr;
  int64_t length = 0;
};

// Size and runs, checked: "size must ...", "counts must ...". Memory of `rle` is used again.
KSEG_API Status read_rle(const RleSource& source, Rle* rle);

// Hands the masks from `begin` up to `end` to `visit`, which may be called for several at once. Reads them one by one,
// because writing thousands of them to memory first takes several times as long. The error names `argument` and the
// first mask that is malformed.
KSEG_API Status for_each_rle(const std::vector<RleSource>& sources, int64_t begin, int64_t end, const char* argument,
                             int64_t cost, const ParallelFor& parallel_for,
                             const std::function<void(int64_t index, const Rle& rle)>& visit);

KSEG_API std::string rle_to_text(const Rle& rle);

KSEG_API int64_t rle_area(const Rle& rle);
// x1 y1 x2 y2 around the ones, the latter two past the last pixel; zeros for an empty mask.
KSEG_API void rle_box(const Rle& rle, int64_t* corners);

// The union or intersection of `count` masks, without runs of length 0 (but for a first one).
KSEG_API Status rle_merge(const Rle* rles, int64_t count, bool intersect, Rle* merged);

// What is not 0 in masks [N, H, W], or the bits of packed [N, H, ceil(W / 8)] below `width`, which are there at most
// once.
KSEG_API Status rle_encode(const View<const uint8_t, 3>& masks, std::vector<Rle>* rles,
                           const ParallelFor& parallel_for);
KSEG_API Status rle_encode_packed(const View<const uint8_t, 3>& packed, int64_t width, std::vector<Rle>* rles,
                                  const ParallelFor& parallel_for);

// The way back, into arrays that are written whole. All masks have the size of the array.
KSEG_API Status rle_decode(const std::vector<RleSource>& rles, const View<uint8_t, 3>& masks,
                           const ParallelFor& parallel_for);
KSEG_API Status rle_decode_packed(const std::vector<RleSource>& rles, int64_t width, const View<uint8_t, 3>& packed,
                                  const ParallelFor& parallel_for);

// COCO's rasterisation of `points` corners x, y into `rle`, whose size is set. The text names the coordinate, not the
// polygon.
KSEG_API Status rle_from_polygon(const double* corners, int64_t points, Rle* rle);

// The pixels of a mask within `reach` rows and columns, at least 1, of a pixel that is not of it or of the outside:
// what it loses when it is eroded `reach` times by 3 x 3 pixels. The result has no runs of length 0 (but for a first
// one).
KSEG_API void rle_boundary(const Rle& rle, int64_t reach, Rle* boundary);

// Pairs of masks to compare: each of a[a_begin..a_end) with each of b[b_begin..b_end).
struct RleGroup {
  int64_t a_begin, a_end, b_begin, b_end;
};
// Writes the IoU of all pairs, group by group and row by row (a) in each. With `is_crowd` (one per b, or null), what
// lies outside a crowd b does not count: intersection over the area of a. Pairs of different sizes are an error.
KSEG_API Status rle_iou(const std::vector<RleSource>& a, const std::vector<RleSource>& b,
                        const std::vector<RleGroup>& groups, const uint8_t* is_crowd, double* output,
                        const ParallelFor& parallel_for);

}  // namespace kseg

#endif  // KSEG_OPS_RLE_RLE_H_
