// Boxes whose IoU comes out as in box_lists.h, to the bit.
#ifndef KSEG_OPS_NMS_BOX_CUH_
#define KSEG_OPS_NMS_BOX_CUH_

#include "base/cuda/device.cuh"

namespace kseg {

struct DeviceBox {
  float4 corners;  // x1 y1 x2 y2; zeros if it overlaps nothing
  float area;
  float share;  // of the area: what makes the quick test of may_exceed()
};

KSEG_DEVICE float plain_coordinate(float value) { return fabsf(value) < 0x1p-36f ? 0.0f : value; }

KSEG_DEVICE DeviceBox prepare_box(const float* corners, float factor) {
  const float x1 = plain_coordinate(corners[0]), y1 = plain_coordinate(corners[1]);
  const float x2 = plain_coordinate(corners[2]), y2 = plain_coordinate(corners[3]);
  const float width = x2 - x1, height = y2 - y1;
  const float area = width * height;
  if (!(width > 0.0f && height > 0.0f && area <= 0x1p126f)) return {make_float4(0.0f, 0.0f, 0.0f, 0.0f), 0.0f, 0.0f};
  return {make_float4(x1, y1, x2, y2), area, area * factor};
}

// See share_factor() of box_lists.h.
inline float box_share_factor(float iou_threshold) {
  return iou_threshold > 0x1p-20f ? iou_threshold / (1.0f + iou_threshold) * (1.0f - 0x1p-20f) : 0.0f;
}

// Right where it is positive; where the boxes do not meet it is zero or less.
KSEG_DEVICE float box_intersection(const float4& a, const float4& b) {
  const float width = fmaxf(fminf(a.z, b.z) - fmaxf(a.x, b.x), 0.0f);
  return width * (fminf(a.w, b.w) - fmaxf(a.y, b.y));
}
KSEG_DEVICE float box_iou(float intersection, float area_a, float area_b) {
  return intersection / ((area_a + area_b) - intersection);
}
// False only if no IoU is above the threshold that the shares were made for.
KSEG_DEVICE bool may_exceed(float intersection, float share_a, float share_b) {
  return intersection > share_a + share_b;
}

}  // namespace kseg

#endif  // KSEG_OPS_NMS_BOX_CUH_
