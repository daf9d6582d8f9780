// From TensorFlow's tensors, threads and errors to the ones that kernels speak. Only this file and *_tf.cc know
// TensorFlow.
#ifndef KSEG_ADAPTERS_TF_ADAPTER_H_
#define KSEG_ADAPTERS_TF_ADAPTER_H_

#include <algorithm>
#include <array>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "base/conv_axis.h"
#include "base/half.h"
#include "base/parallel_for.h"
#include "base/result_size.h"
#include "base/status.h"
#include "base/view.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/threadpool.h"

namespace kseg {

using tensorflow::OpInputList;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::OpOutputList;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

// The kernel's name for an element type of TensorFlow. The 16-bit ones differ in name only, never in layout.
template <class T>
struct KernelType {
  using type = T;
};
template <>
struct KernelType<Eigen::half> {
  using type = Half;
};
template <>
struct KernelType<tensorflow::bfloat16> {
  using type = BFloat16;
};
static_assert(sizeof(Eigen::half) == sizeof(Half) && sizeof(tensorflow::bfloat16) == sizeof(BFloat16));

inline absl::Status to_absl(const Status& status) {
  switch (status.code()) {
    case StatusCode::kOk:
      return absl::OkStatus();
    case StatusCode::kInvalidArgument:
      return absl::InvalidArgumentError(status.message());
    case StatusCode::kOutOfMemory:
      return absl::ResourceExhaustedError(status.message());
    case StatusCode::kInternal:
      break;
  }
  return absl::InternalError(status.message());
}

// InvalidArgument unless the tensor has this rank: a view must never be made of any other.
inline absl::Status check_rank(const Tensor& tensor, int rank, const char* argument) {
  if (tensor.dims() == rank) return absl::OkStatus();
  return to_absl(invalid_argument(argument, " must have rank ", rank, ", got shape ", tensor.shape().DebugString()));
}

template <int rank>
Shape<rank> shape_of(const Tensor& tensor) {
  Shape<rank> shape;
  for (int axis = 0; axis < rank; ++axis) shape[axis] = tensor.dim_size(axis);
  return shape;
}

// The four extents in a tensor of int32 or int64, of an array whose elements take `element_bytes`.
inline absl::Status get_shape(const char* argument, const Tensor& tensor, int64_t element_bytes, Shape<4>* shape) {
  TF_RETURN_IF_ERROR(check_rank(tensor, 1, argument));
  if (tensor.NumElements() != 4) {
    return to_absl(invalid_argument(argument, " must have four entries, got ", tensor.NumElements()));
  }
  if (tensor.dtype() == tensorflow::DT_INT32) {
    std::copy_n(tensor.flat<int32_t>().data(), 4, shape->begin());
  } else {
    std::copy_n(tensor.flat<int64_t>().data(), 4, shape->begin());
  }
  const auto& [batch, height, width, channels] = *shape;
  return to_absl(check_result_size(argument, {batch, height, width, channels, element_bytes}));
}

// The attributes `rate` and `padding`.
template <class Context>
absl::Status get_conv_options(Context* context, ConvOptions* options) {
  std::vector<int64_t> rate;
  std::string padding;
  TF_RETURN_IF_ERROR(context->GetAttr("rate", &rate));
  TF_RETURN_IF_ERROR(context->GetAttr("padding", &padding));
  return to_absl(parse_conv_options(rate, padding, options));
}

// The output's size along both axes of images, as far as it is known, from `x` and `filters` of rank 4. The other
// arguments are those of make_conv_axes().
inline absl::Status infer_conv_size(InferenceContext* context, ShapeHandle x, ShapeHandle filters,
                                    const ConvOptions& options, std::array<DimensionHandle, 2>* sizes,
                                    const char* name = "filters", int64_t most_kernel = kMaxConvKernel) {
  for (const int i : {0, 1}) {
    const DimensionHandle input = context->Dim(x, i + 1), kernel = context->Dim(filters, i);
    (*sizes)[i] = options.padding == Padding::kSame ? input : context->UnknownDim();
    if (!context->ValueKnown(input) || !context->ValueKnown(kernel)) continue;
    ConvAxis axis;
    TF_RETURN_IF_ERROR(
        to_absl(make_conv_axis(i == 0 ? "height" : "width", context->Value(input), context->Value(kernel),
                               options.rate[i], options.padding, &axis, name, most_kernel)));
    (*sizes)[i] = context->MakeDim(axis.output);
  }
  return absl::OkStatus();
}

// T is TensorFlow's element type. The rank has been checked.
template <class T, int rank>
View<const typename KernelType<T>::type, rank> view_of(const Tensor& tensor) {
  using K = typename KernelType<T>::type;
  return {reinterpret_cast<const K*>(tensor.flat<T>().data()), shape_of<rank>(tensor)};
}
template <class T, int rank>
View<typename KernelType<T>::type, rank> mutable_view_of(Tensor* tensor) {
  using K = typename KernelType<T>::type;
  return {reinterpret_cast<K*>(tensor->flat<T>().data()), shape_of<rank>(*tensor)};
}

// Work on the intra-op pool of the device that runs the op.
class TfParallelFor final : public ParallelFor {
 public:
  explicit TfParallelFor(OpKernelContext* context)
      : pool_(context->device()->tensorflow_cpu_worker_threads()->workers) {}

  int max_threads() const override { return pool_->NumThreads() + 1; }  // the caller works too
  int useful_threads() const override { return pool_->NumThreads(); }
  void run(int64_t total, int64_t cost_per_unit, const Body& body) const override {
    if (total <= 0) return;
    using Params = tensorflow::thread::ThreadPool::SchedulingParams;
    const auto adaptive = tensorflow::thread::ThreadPool::SchedulingStrategy::kAdaptive;
    Guard guard;
    pool_->ParallelFor(total, Params(adaptive, std::max<int64_t>(cost_per_unit, 1), std::nullopt),
                       [&](int64_t begin, int64_t end) { guard.call(body, begin, end); });
    guard.rethrow();
  }

 private:
  tensorflow::thread::ThreadPool* pool_;
};

// An op whose compute() may throw std::bad_alloc, which must not unwind TensorFlow's own frames.
class NativeOp : public tensorflow::OpKernel {
 public:
  using OpKernel::OpKernel;

  void Compute(OpKernelContext* context) final {
    try {
      compute(context);
    } catch (const std::bad_alloc&) {
      context->SetStatus(absl::ResourceExhaustedError(type_string() + ": out of memory"));
    }
  }

 private:
  // On several threads at once.
  virtual void compute(OpKernelContext* context) const = 0;
};

}  // namespace kseg

#endif  // KSEG_ADAPTERS_TF_ADAPTER_H_
