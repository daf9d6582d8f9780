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
#include "base/op_call.h"
#include "base/parallel_for.h"
#include "base/status.h"
#include "tensorflow/core/framework/op_kernel.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/threadpool.h"

namespace kseg {

using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::Tensor;
using tensorflow::TensorShape;
using tensorflow::shape_inference::DimensionHandle;
using tensorflow::shape_inference::InferenceContext;
using tensorflow::shape_inference::ShapeHandle;

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

inline ElementType element_type(tensorflow::DataType type) {
  switch (type) {
    case tensorflow::DT_BOOL:
      return ElementType::kBool;
    case tensorflow::DT_UINT8:
      return ElementType::kUint8;
    case tensorflow::DT_INT8:
      return ElementType::kInt8;
    case tensorflow::DT_UINT16:
      return ElementType::kUint16;
    case tensorflow::DT_INT32:
      return ElementType::kInt32;
    case tensorflow::DT_INT64:
      return ElementType::kInt64;
    case tensorflow::DT_HALF:
      return ElementType::kHalf;
    case tensorflow::DT_BFLOAT16:
      return ElementType::kBFloat16;
    case tensorflow::DT_FLOAT:
      return ElementType::kFloat;
    case tensorflow::DT_DOUBLE:
      return ElementType::kDouble;
    default:
      return ElementType::kOther;
  }
}

// The attributes of a node, for its shape function and for its kernel.
template <class Context>
class TfAttributes final : public OpAttributes {
 public:
  explicit TfAttributes(Context* context) : context_(context) {}

  Status get(const char* name, bool* value) const override { return fetch(name, value); }
  Status get(const char* name, int64_t* value) const override { return fetch(name, value); }
  Status get(const char* name, float* value) const override { return fetch(name, value); }
  Status get(const char* name, std::string* value) const override { return fetch(name, value); }
  Status get(const char* name, std::vector<bool>* value) const override { return fetch(name, value); }
  Status get(const char* name, std::vector<int64_t>* value) const override { return fetch(name, value); }
  Status get(const char* name, std::vector<float>* value) const override { return fetch(name, value); }
  Status get(const char* name, std::vector<std::string>* value) const override { return fetch(name, value); }

 private:
  template <class T>
  Status fetch(const char* name, T* value) const {
    const absl::Status status = context_->GetAttr(name, value);
    return status.ok() ? Status() : invalid_argument(status.message());
  }

  Context* context_;
};

class TfCall : public OpCall {
 public:
  explicit TfCall(OpKernelContext* context) : context_(context), parallel_for_(context) {}

  using OpCall::input;
  int num_inputs() const override { return context_->num_inputs(); }
  Array input(int index) const override {
    const Tensor& tensor = context_->input(index);
    const auto sizes = tensor.shape().dim_sizes();
    return {element_type(tensor.dtype()), tensor.data(), {sizes.begin(), sizes.end()}};
  }
  const ParallelFor& parallel_for() const override { return parallel_for_; }
  bool wants_output(int index) const override { return context_->output_required(index); }

  // Why nothing can be run, if so.
  virtual Status problem() const { return Status(); }

  // What TensorFlow said where it did not give memory.
  const absl::Status& allocation() const { return allocation_; }

 private:
  Status allocate(int index, const std::vector<int64_t>& shape, int reuse, void** data) override {
    TensorShape extents;
    Tensor* tensor = nullptr;
    allocation_ = TensorShape::BuildTensorShape(shape, &extents);
    if (allocation_.ok() && reuse >= 0) {
      allocation_ = context_->forward_input_or_allocate_output({reuse}, index, extents, &tensor);
    } else if (allocation_.ok()) {
      allocation_ = context_->allocate_output(index, extents, &tensor);
    }
    if (!allocation_.ok()) return invalid_argument("no memory for a result");
    *data = tensor->data();
    return Status();
  }

  OpKernelContext* context_;
  TfParallelFor parallel_for_;
  absl::Status allocation_;
};

// The kernel of an op of base/op_call.h.
template <class Op, class Call = TfCall>
class TfOp final : public tensorflow::OpKernel {
 public:
  explicit TfOp(OpKernelConstruction* context) : OpKernel(context) {
    OP_REQUIRES_OK(context, to_absl(op_.read(TfAttributes(context))));
  }

  void Compute(OpKernelContext* context) override {
    try {
      Call call(context);
      Status status = call.problem();
      if (status.ok()) status = op_.run(call);
      OP_REQUIRES_OK(context, call.allocation());
      OP_REQUIRES_OK(context, to_absl(status));
    } catch (const std::bad_alloc&) {  // must not unwind TensorFlow's own frames
      context->SetStatus(absl::ResourceExhaustedError(type_string() + ": out of memory"));
    }
  }

 private:
  Op op_;
};

}  // namespace kseg

#define KSEG_TF_CPU_KERNEL(name, Op) REGISTER_KERNEL_BUILDER(Name(name).Device(tensorflow::DEVICE_CPU), Op)

#endif  // KSEG_ADAPTERS_TF_ADAPTER_H_
