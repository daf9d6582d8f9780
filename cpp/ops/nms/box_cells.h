// Many boxes, sorted into cells by place and size, so that one box need only be compared with a few cells of them.
// Opens the target as base/kernel.h does, so it is included last.
#ifndef KSEG_OPS_NMS_BOX_CELLS_H_
#define KSEG_OPS_NMS_BOX_CELLS_H_

#include "ops/nms/box_lists.h"

KSEG_KERNEL_BEGIN

// Cells keep the bounds of what is in them, so that which cell a box goes to matters for speed only.
class BoxCells {
 public:
  static constexpr int32_t kSide = 8;
  static constexpr int32_t kSizes = 4;
  static constexpr int32_t kCells = kSide * kSide * kSizes;

  // The grid is laid over these boxes; others may come.
  BoxCells(const PreparedBox* boxes, int64_t count, float iou_threshold)
      : lists_(kCells, 2 * kCells),
        threshold_(iou_threshold),
        // IoU > threshold means that the intersection is more than that part of either box, and so is each of its sides
        // of either box's side; of the factor a little is left for rounding.
        part_(iou_threshold > 0x1p-20f ? iou_threshold * (1.0f - 0x1p-18f) : 0.0f) {
    for (int32_t i = 0; i < kCells; ++i) {
      x1_[i] = y1_[i] = least_area_[i] = kFar;
      x2_[i] = y2_[i] = most_area_[i] = -kFar;
    }
    float left = kFar, top = kFar, right = -kFar, bottom = -kFar;
    int32_t small = INT32_MAX, large = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (!boxes[i].overlaps) continue;
      left = least(left, boxes[i].x1);
      top = least(top, boxes[i].y1);
      right = -least(-right, -boxes[i].x1);
      bottom = -least(-bottom, -boxes[i].y1);
      const int32_t size = magnitude(boxes[i].area);
      small = size < small ? size : small;
      large = size > large ? size : large;
    }
    left_ = left;
    top_ = top;
    columns_per_pixel_ = right > left ? kSide / (right - left) : 0.0f;
    rows_per_pixel_ = bottom > top ? kSide / (bottom - top) : 0.0f;
    small_ = small;
    sizes_ =
        large > small ? static_cast<float>(kSizes) / (static_cast<float>(large) - static_cast<float>(small)) : 0.0f;
  }

  void add(const PreparedBox& box) {
    const int32_t column = place((box.x1 - left_) * columns_per_pixel_, kSide);
    const int32_t row = place((box.y1 - top_) * rows_per_pixel_, kSide);
    const int32_t size = place((static_cast<float>(magnitude(box.area)) - static_cast<float>(small_)) * sizes_, kSizes);
    const int32_t cell = (size * kSide + row) * kSide + column;
    lists_.add(cell, box);
    x1_[cell] = least(x1_[cell], box.x1);
    y1_[cell] = least(y1_[cell], box.y1);
    x2_[cell] = -least(-x2_[cell], -box.x2);
    y2_[cell] = -least(-y2_[cell], -box.y2);
    least_area_[cell] = least(least_area_[cell], box.area);
    most_area_[cell] = -least(-most_area_[cell], -box.area);
  }

  // Whether a box in here has an IoU with `box` above the threshold.
  bool exceeded_by(const PreparedBox& box) const {
    const VecF x1 = splat(box.x1), y1 = splat(box.y1), x2 = splat(box.x2), y2 = splat(box.y2);
    const VecF width = splat((box.x2 - box.x1) * part_);
    const VecF height = splat((box.y2 - box.y1) * part_);
    const VecF area = splat(box.area);
    const VecF part_area = splat(box.area * part_);
    const VecF part = splat(part_);
    for (int32_t first = 0; first < kCells; first += kLanesF) {
      const VecF shared_width = smaller(x2, load(x2_ + first)) - larger(x1, load(x1_ + first));
      const VecF shared_height = smaller(y2, load(y2_ + first)) - larger(y1, load(y1_ + first));
      uint32_t cells = lanes_above(shared_width, width) & lanes_above(shared_height, height) &
                       lanes_above(load(most_area_ + first), part_area) &
                       lanes_above(area, load(least_area_ + first) * part);
      for (; cells != 0; cells &= cells - 1) {
        const int32_t cell = first + __builtin_ctz(cells);
        if (exceeded(lists_, lists_.begin(cell), box, threshold_)) return true;
      }
    }
    return false;
  }

 private:
  static constexpr float kFar = 0x1p127f;

  static float least(float a, float b) { return a < b ? a : b; }
  // Rises with the logarithm of a positive number.
  static int32_t magnitude(float area) {
    int32_t bits;
    std::memcpy(&bits, &area, sizeof bits);
    return bits;
  }
  static int32_t place(float position, int32_t count) {
    const float last = static_cast<float>(count - 1);
    return position > 0.0f ? static_cast<int32_t>(position < last ? position : last) : 0;  // 0 for NaN, too
  }

  BoxLists lists_;
  float threshold_;
  float part_;
  float left_ = 0, top_ = 0, columns_per_pixel_ = 0, rows_per_pixel_ = 0, sizes_ = 0;
  int32_t small_ = 0;
  alignas(64) float x1_[kCells];
  alignas(64) float y1_[kCells];
  alignas(64) float x2_[kCells];
  alignas(64) float y2_[kCells];
  alignas(64) float least_area_[kCells];
  alignas(64) float most_area_[kCells];
};

KSEG_KERNEL_END

#endif  // KSEG_OPS_NMS_BOX_CELLS_H_
