#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <new>
#include <vector>

#include "ops/resize_softmax_cross_entropy/resize_runs.h"
#include "ops/resize_softmax_cross_entropy/resize_softmax_cross_entropy_check.h"
#include "ops/resize_softmax_cross_entropy/scale_unit_gradient.h"
#include "ops/resize_softmax_cross_entropy/scratch_size.h"

#include "base/parallel_for.h"

#include "base/kernel.h"
#include "base/argmax.h"                                     // target code only
#include "ops/resize_softmax_cross_entropy/block_worker.h"   // target code only
#include "ops/resize_softmax_cross_entropy/pixel_rows.h"     // target code only
#include "ops/resize_softmax_cross_entropy/softmax_math.h"   // target code only
#include "ops/resize_softmax_cross_entropy/softmax_tile.h"   // target code only
#include "ops/resize_softmax_cross_entropy/source_rows.h"    // target code only
#include "ops/resize_softmax_cross_entropy/sweep.h"          // target code only

KSEG_KERNEL_BEGIN

template <class T, bool kGradient, bool kDice, bool kLoss>
void run_blocks(Call<T>& call, const ParallelFor& parallel_for) {
  const int64_t tiles = call.plan.column_count * (call.block_runs.back() / call.blocks_per_image + 1);
  const int64_t cost = tiles * (200 + 2 * call.plan.padded * (kGradient ? 4 : 2));
  run_workers(parallel_for, call.batch * call.blocks_per_image, 1, cost, [&](Pieces& pieces) {
    Worker<T, kGradient, kDice, kLoss> worker(call);
    for (int64_t block, end; pieces.take(&block, &end);) {
      for (; block < end; ++block) worker.run_block(block);
    }
  });
}

template <class T>
Status outcome(const Call<T>& call) {
  const int64_t row = call.strange_row;
  if (row == std::numeric_limits<int64_t>::max()) return Status();
  return bad_label(call.labels, row * call.out_width, call.out_width, call.classes, call.options);
}

template <class T, class Args>
void fill_call(const Args& args, Call<T>* call) {
  call->logits = args.logits.data;
  call->labels = args.labels;
  call->options = args.options;
  call->pixel_weights = args.pixel_weights;
  call->batch = args.logits.shape[0];
  call->height = args.logits.shape[1];
  call->width = args.logits.shape[2];
  call->channels = static_cast<int32_t>(args.logits.shape[3]);
  call->classes = static_cast<int32_t>(resize_softmax_classes(args.logits.shape[3]));
  call->out_height = args.labels.shape[1];
  call->out_width = args.labels.shape[2];
}

// Runs a direction that has a gradient: rows that two blocks share are added up at the end.
template <class T, bool kDice, bool kLoss>
Status run_gradient(Call<T>& call, const ParallelFor& parallel_for) {
  const int64_t row_size = call.width * call.channels;
  const int64_t blocks = call.batch * call.blocks_per_image;
  const bool shared = call.blocks_per_image > 1;
  const AlignedFloats carried = aligned_floats(shared ? blocks * row_size : 0);
  const AlignedFloats first = aligned_floats(shared && !std::is_same_v<T, float> ? blocks * row_size : 0);
  call.carried_rows = carried.get();
  call.first_rows = first.get();
  run_blocks<T, true, kDice, kLoss>(call, parallel_for);
  if (!shared) return outcome(call);
  parallel_for.run(blocks, row_size, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t in_image = block % call.blocks_per_image;
      if (in_image == 0) continue;
      const int64_t image = block / call.blocks_per_image;
      T* const to = call.logits_gradient + (image * call.height + in_image * call.rows_per_block) * row_size;
      const float* const above = call.carried_rows + (block - 1) * row_size;
      const float* const own = call.first_rows + block * row_size;
      for (int64_t i = 0; i < row_size; ++i) {
        if constexpr (std::is_same_v<T, float>) {
          to[i] += above[i];
        } else {
          to[i] = from_float<T>(own[i] + above[i]);
        }
      }
    }
  });
  return outcome(call);
}

template <class T>
Status resize_softmax_kernel(const ResizeSoftmaxArgs<T>& args, const ParallelFor& parallel_for) {
  Call<T> call;
  fill_call(args, &call);
  call.lay_out(false, args.dice, true);
  call.loss = args.loss.data;
  if constexpr (std::is_same_v<T, float>) {
    if (args.unit_gradient.data != nullptr) {
      call.scratch.gradient = true;
      call.logits_gradient = args.unit_gradient.data;
      return run_gradient<T, false, true>(call, parallel_for);
    }
  }
  if (!args.dice) {
    run_blocks<T, false, false, true>(call, parallel_for);
    return outcome(call);
  }
  const int64_t per_block = kDiceSums * int64_t{call.classes};
  std::vector<double> totals(call.batch * call.blocks_per_image * per_block, 0.0);
  call.totals = totals.data();
  run_blocks<T, false, true, true>(call, parallel_for);
  for (int64_t image = 0; image < call.batch; ++image) {
    const double* const blocks = totals.data() + image * call.blocks_per_image * per_block;
    for (int64_t i = 0; i < per_block; ++i) {
      double total = 0.0;
      for (int64_t block = 0; block < call.blocks_per_image; ++block) total += blocks[block * per_block + i];
      args.sums.data[image * per_block + i] = static_cast<float>(total);
    }
  }
  return outcome(call);
}

template <class T>
Status resize_softmax_grad_kernel(const ResizeSoftmaxGradArgs<T>& args, const ParallelFor& parallel_for) {
  Call<T> call;
  fill_call(args, &call);
  call.lay_out(true, args.dice, false);
  call.loss_gradient = args.loss_gradient.data;
  call.sums_gradient = args.sums_gradient.data;
  call.logits_gradient = args.logits_gradient.data;
  if (args.dice) return run_gradient<T, true, false>(call, parallel_for);
  return run_gradient<T, false, false>(call, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                               \
  template Status resize_softmax_kernel(const ResizeSoftmaxArgs<T>&, const ParallelFor&); \
  template Status resize_softmax_grad_kernel(const ResizeSoftmaxGradArgs<T>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

KSEG_KERNEL_END

#if KSEG_DISPATCH_HERE
namespace kseg {

KSEG_DECLARE_KERNEL(template <class T> Status resize_softmax_kernel(const ResizeSoftmaxArgs<T>&, const ParallelFor&))
KSEG_DECLARE_KERNEL(template <class T>
                    Status resize_softmax_grad_kernel(const ResizeSoftmaxGradArgs<T>&, const ParallelFor&))

template <class T>
Status resize_softmax_cross_entropy(const ResizeSoftmaxArgs<T>& args, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_softmax_call(args));
  if (args.logits.shape[0] == 0) return Status();
  if (args.labels.shape[1] == 0 || args.labels.shape[2] == 0) {
    if (args.dice) std::fill_n(args.sums.data, args.sums.size(), 0.0f);
    if (args.unit_gradient.data != nullptr)
      std::memset(args.unit_gradient.data, 0, sizeof(T) * args.unit_gradient.size());
    return Status();
  }
  KSEG_RETURN_DISPATCH(resize_softmax_kernel<T>, args, parallel_for);
}

template <class T>
Status resize_softmax_cross_entropy_grad(const ResizeSoftmaxGradArgs<T>& args, const ParallelFor& parallel_for) {
  KSEG_RETURN_IF_ERROR(check_softmax_call(args));
  if (args.logits.shape[0] == 0) return Status();
  if (args.labels.shape[1] == 0 || args.labels.shape[2] == 0) {
    std::memset(args.logits_gradient.data, 0, sizeof(T) * args.logits_gradient.size());
    return Status();
  }
  if (args.unit_gradient.data != nullptr && scale_unit_gradient(args, parallel_for)) return Status();
  KSEG_RETURN_DISPATCH(resize_softmax_grad_kernel<T>, args, parallel_for);
}

#define KSEG_INSTANTIATE(T)                                                                               \
  template KSEG_API Status resize_softmax_cross_entropy(const ResizeSoftmaxArgs<T>&, const ParallelFor&); \
  template KSEG_API Status resize_softmax_cross_entropy_grad(const ResizeSoftmaxGradArgs<T>&, const ParallelFor&);
KSEG_INSTANTIATE(float)
KSEG_INSTANTIATE(Half)
KSEG_INSTANTIATE(BFloat16)
#undef KSEG_INSTANTIATE

}  // namespace kseg
#endif
