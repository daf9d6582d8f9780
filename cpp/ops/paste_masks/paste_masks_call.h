// What the ops of PasteMasks check and run, whichever framework calls.
#ifndef KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CALL_H_
#define KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CALL_H_

#include <algorithm>
#include <string>

#include "base/op_call.h"
#include "ops/paste_masks/paste_masks.h"
#include "ops/paste_masks/paste_masks_cuda.h"

namespace kseg {

class PasteMasksAttributes {
 public:
  Status read(const OpAttributes& attributes) {
    std::string mode;
    float threshold = 0.0f;
    KSEG_RETURN_IF_ERROR(attributes.get("mode", &mode));
    KSEG_RETURN_IF_ERROR(attributes.get("threshold", &threshold));
    return make_paste_options(mode, threshold, &options_);
  }

 protected:
  template <class T>
  Status prepare(const OpCall& call, View<const T, 3>* masks, View<const float, 2>* boxes,
                 PasteOptions* options) const {
    KSEG_RETURN_IF_ERROR(call.input(0, "masks", masks));
    KSEG_RETURN_IF_ERROR(call.input(1, "boxes", boxes));
    const Array size = call.input(2);
    if (size.shape != std::vector<int64_t>{2}) {
      return invalid_argument("image_size must be two integers, height and width, got shape ", size.shape_text());
    }
    int64_t sides[2];
    KSEG_RETURN_IF_ERROR(call.input_integers(2, "image_size", 2, "two entries", sides));
    *options = options_;
    options->height = sides[0];
    options->width = sides[1];
    return Status();
  }

 private:
  PasteOptions options_;
};

class PasteMasksOp : public PasteMasksAttributes {
 public:
  Status read(const OpAttributes& attributes) {
    KSEG_RETURN_IF_ERROR(PasteMasksAttributes::read(attributes));
    return attributes.get("packed", &packed_);
  }

  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(0).type, "masks", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 3> masks;
      View<const float, 2> boxes;
      View<uint8_t, 3> pasted;
      PasteOptions options;
      KSEG_RETURN_IF_ERROR(prepare(call, &masks, &boxes, &options));
      const int64_t row_bytes = packed_ ? (std::max<int64_t>(options.width, 0) + 7) / 8 : options.width;
      KSEG_RETURN_IF_ERROR(check_paste_masks(masks.shape, boxes.shape, options, row_bytes));
      KSEG_RETURN_IF_ERROR(call.output(0, {masks.shape[0], options.height, row_bytes}, &pasted));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            return paste_masks(masks, boxes, options, packed_, pasted, parallel_for);
          },
          [&](const auto& cuda) { return paste_masks_cuda(masks, boxes, options, packed_, pasted, cuda); });
    });
  }

 private:
  bool packed_ = false;
};

class PasteMasksRleOp : public PasteMasksAttributes {
 public:
  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(0).type, "masks", [&](auto tag) {
      using T = typename decltype(tag)::type;
      View<const T, 3> masks;
      View<const float, 2> boxes;
      PasteOptions options;
      KSEG_RETURN_IF_ERROR(prepare(call, &masks, &boxes, &options));
      return run_on_device<T>(
          call,
          [&](const ParallelFor& parallel_for) {
            PastedRuns runs;
            KSEG_RETURN_IF_ERROR(paste_masks_rle(masks, boxes, options, &runs, parallel_for));
            KSEG_RETURN_IF_ERROR(call.output_values(0, runs.counts));
            return call.output_values(1, runs.splits);
          },
          [&](const auto& cuda) {  // waits for the device: the result cannot be allocated before its size is known
            View<int64_t, 1> splits;
            View<int32_t, 1> counts;
            uint32_t* columns = nullptr;
            int64_t count = 0;
            KSEG_RETURN_IF_ERROR(check_paste_masks(masks.shape, boxes.shape, options, options.width));
            KSEG_RETURN_IF_ERROR(call.output(1, {masks.shape[0] + 1}, &splits));
            KSEG_RETURN_IF_ERROR(count_pasted_runs_cuda(masks, boxes, options, splits, &columns, cuda));
            const View<const int64_t, 1> begins{splits.data, splits.shape};
            KSEG_RETURN_IF_ERROR(read_run_count_cuda(begins, &count, cuda));
            KSEG_RETURN_IF_ERROR(call.output(0, {count}, &counts));
            return write_pasted_runs_cuda(masks, boxes, options, begins, columns, counts, cuda);
          });
    });
  }
};

}  // namespace kseg

#endif  // KSEG_OPS_PASTE_MASKS_PASTE_MASKS_CALL_H_
