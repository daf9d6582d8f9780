// Lists of boxes in vector-friendly order, and the overlap of one box with a list. Opens the target as base/kernel.h
// does, so it is included last.
//
// A decision hangs on the last bit of an IoU, which must therefore come out the same here, in the reference and on
// every instruction set. The boxes are made such that nothing overflows and nothing becomes subnormal (prepare_box),
// and `settled` keeps the compiler from fusing a product with the sum that follows it.
#ifndef KSEG_OPS_NMS_BOX_LISTS_H_
#define KSEG_OPS_NMS_BOX_LISTS_H_

#include "base/argmax.h"

KSEG_KERNEL_BEGIN

KSEG_INLINE VecF settled(VecF value) {
#if defined(KSEG_TARGET_AVX512)
  asm("" : "+v"(value));
#elif KSEG_X86
  asm("" : "+x"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#endif
  return value;
}
KSEG_INLINE float settled(float value) {
#if KSEG_X86
  asm("" : "+x"(value));
#elif defined(__aarch64__)
  asm("" : "+w"(value));
#endif
  return value;
}

KSEG_INLINE uint32_t lanes_above(VecF a, VecF b) {
#if defined(KSEG_TARGET_AVX512)
  return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ);
#elif defined(KSEG_TARGET_AVX2)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)a, (__m256)b, _CMP_GT_OQ)));
#elif KSEG_X86
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps((__m128)a, (__m128)b)));
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanesF; ++lane) bits |= static_cast<uint32_t>(a[lane] > b[lane]) << lane;
  return bits;
#endif
}

struct PreparedBox {
  float x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  float area = 0;
  float share = 0;  // of the area: what makes the quick test of may_exceed()
  bool overlaps = false;  // false for a box that overlaps nothing, whatever its numbers
};

// Coordinates closer to 0 than this are 0: all others are multiples of 2**-59 then, differences of theirs are not below
// that, and no product of two differences is subnormal.
constexpr float kLeastCoordinate = 0x1p-36f;
// The sum of two areas is finite.
constexpr float kMostArea = 0x1p126f;

KSEG_INLINE float plain_coordinate(float value) { return __builtin_fabsf(value) < kLeastCoordinate ? 0.0f : value; }

KSEG_INLINE PreparedBox prepare_box(const float* corners, float factor) {
  PreparedBox box;
  const float x1 = plain_coordinate(corners[0]);
  const float y1 = plain_coordinate(corners[1]);
  const float x2 = plain_coordinate(corners[2]);
  const float y2 = plain_coordinate(corners[3]);
  const float width = x2 - x1;
  const float height = y2 - y1;
  const float area = settled(width * height);
  // An infinite coordinate makes a side infinite or NaN, and so the area.
  if (!(width > 0.0f && height > 0.0f && area <= kMostArea)) return box;
  return {x1, y1, x2, y2, area, area * factor, true};
}

// IoU > threshold means intersection > threshold / (1 + threshold) * (sum of the areas), but for rounding: of the
// factor this much is left, so that the quick test passes whatever the exact one would. It refuses most pairs, without
// the division.
inline float share_factor(float iou_threshold) {
  if (!(iou_threshold > 0x1p-20f)) return 0.0f;
  return iou_threshold / (1.0f + iou_threshold) * (1.0f - 0x1p-20f);
}

constexpr int32_t kChunkBoxes = 64;

// Unused places hold boxes that overlap nothing.
struct alignas(64) BoxChunk {
  float x1[kChunkBoxes] = {};
  float y1[kChunkBoxes] = {};
  float x2[kChunkBoxes] = {};
  float y2[kChunkBoxes] = {};
  float area[kChunkBoxes] = {};
  float share[kChunkBoxes] = {};
  float extra[kChunkBoxes] = {};  // for the user of the list
  int64_t next = -1;
};

// A place in a list; the list's end at some time stays a valid place when it grows.
struct BoxPlace {
  int64_t chunk = -1;
  int32_t offset = 0;
};

// One list for each group, in the order of addition; `room` is a guess at how many chunks there will be. Reading is
// safe side by side, adding is not.
class BoxLists {
 public:
  explicit BoxLists(int64_t groups, int64_t room = 0) : lists_(groups) { chunks_.reserve(room); }

  BoxPlace begin(int64_t group) const { return {lists_[group].first, 0}; }
  BoxPlace end(int64_t group) const { return {lists_[group].last, lists_[group].used}; }
  int64_t size(int64_t group) const { return lists_[group].size; }

  BoxPlace add(int64_t group, const PreparedBox& box) {
    List& list = lists_[group];
    if (list.last < 0 || list.used == kChunkBoxes) {
      const int64_t made = static_cast<int64_t>(chunks_.size());
      chunks_.emplace_back();
      if (list.last < 0) {
        list.first = made;
      } else {
        chunks_[list.last].next = made;
      }
      list.last = made;
      list.used = 0;
    }
    BoxChunk& chunk = chunks_[list.last];
    const int32_t at = list.used++;
    chunk.x1[at] = box.x1;
    chunk.y1[at] = box.y1;
    chunk.x2[at] = box.x2;
    chunk.y2[at] = box.y2;
    chunk.area[at] = box.area;
    chunk.share[at] = box.share;
    ++list.size;
    return {list.last, at};
  }

  // Calls visit(box) for the boxes of a list, in their order.
  template <class Visit>
  void for_each(int64_t group, Visit&& visit) const {
    const List& list = lists_[group];
    for (int64_t index = list.first; index >= 0; index = chunks_[index].next) {
      const BoxChunk& chunk = chunks_[index];
      const int32_t used = index == list.last ? list.used : kChunkBoxes;
      for (int32_t i = 0; i < used; ++i) {
        visit(PreparedBox{chunk.x1[i], chunk.y1[i], chunk.x2[i], chunk.y2[i], chunk.area[i], chunk.share[i], true});
      }
    }
  }

  void clear() {
    chunks_.clear();
    for (List& list : lists_) list = List();
  }

  const BoxChunk& chunk(int64_t index) const { return chunks_[index]; }
  BoxChunk& chunk(int64_t index) { return chunks_[index]; }

 private:
  struct List {
    int64_t first = -1, last = -1;
    int32_t used = 0;
    int64_t size = 0;
  };
  std::vector<BoxChunk> chunks_;
  std::vector<List> lists_;
};

// One box against vectors of a list.
struct BoxVectors {
  VecF x1, y1, x2, y2, area, share;

  explicit BoxVectors(const PreparedBox& box)
      : x1(splat(box.x1)),
        y1(splat(box.y1)),
        x2(splat(box.x2)),
        y2(splat(box.y2)),
        area(splat(box.area)),
        share(splat(box.share)) {}

  // Right where it is positive; where the boxes do not meet it is zero or less.
  VecF intersection(const BoxChunk& chunk, int32_t at) const {
    VecF width = smaller(x2, load(chunk.x2 + at)) - larger(x1, load(chunk.x1 + at));
    const VecF height = smaller(y2, load(chunk.y2 + at)) - larger(y1, load(chunk.y1 + at));
    width = larger(width, VecF{});
    return settled(width * height);
  }
  VecF iou(VecF intersection, const BoxChunk& chunk, int32_t at) const {
    return intersection / ((area + load(chunk.area + at)) - intersection);
  }
};

// Calls visit(chunk, offset of a vector) for the vectors from `place` on to the end of its list, until it returns
// false. A vector may hold boxes before `place`, and places behind the end.
template <class Visit>
KSEG_INLINE void for_vectors(const BoxLists& lists, BoxPlace place, Visit&& visit) {
  int32_t at = place.offset & ~(kLanesF - 1);
  for (int64_t index = place.chunk; index >= 0;) {
    const BoxChunk& chunk = lists.chunk(index);
    for (; at < kChunkBoxes; at += kLanesF) {
      if (!visit(chunk, at)) return;
    }
    at = 0;
    index = chunk.next;
  }
}

// Whether a box of the list from `place` on has an IoU with `box` above the threshold.
KSEG_INLINE bool exceeded(const BoxLists& lists, BoxPlace place, const PreparedBox& box, float iou_threshold) {
  const BoxVectors vectors(box);
  const VecF threshold = splat(iou_threshold);
  bool found = false;
  for_vectors(lists, place, [&](const BoxChunk& chunk, int32_t at) __attribute__((always_inline)) {
    const VecF intersection = vectors.intersection(chunk, at);
    const uint32_t maybe = lanes_above(intersection, vectors.share + load(chunk.share + at));
    if (__builtin_expect(maybe == 0, 1)) return true;
    found = (maybe & lanes_above(vectors.iou(intersection, chunk, at), threshold)) != 0;
    return !found;
  });
  return found;
}

KSEG_KERNEL_END

#endif  // KSEG_OPS_NMS_BOX_LISTS_H_
