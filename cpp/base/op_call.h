// An op as a graph calls it: attributes by name, inputs and results by position. What a call checks and which kernel it
// runs is written once per op, in ops/<op>/<op>_call.h; the adapters of TensorFlow and XLA bring the call itself.
//
// Such an op is a class with two members:
//   Status read(const OpAttributes& attributes);  once, before the first call; refuses wrong attributes
//   Status run(OpCall& call) const;               on several threads at once; may throw std::bad_alloc
#ifndef KSEG_BASE_OP_CALL_H_
#define KSEG_BASE_OP_CALL_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/cuda/context.h"
#include "base/half.h"
#include "base/parallel_for.h"
#include "base/result_size.h"
#include "base/status.h"
#include "base/view.h"

namespace kseg {

enum class ElementType { kBool, kUint8, kInt8, kUint16, kInt32, kInt64, kHalf, kBFloat16, kFloat, kDouble, kOther };

template <class T>
struct ElementTypeOf;
#define KSEG_ELEMENT_TYPE(T, type, text)                    \
  template <>                                               \
  struct ElementTypeOf<T> {                                 \
    static constexpr ElementType value = ElementType::type; \
    static constexpr const char* name = text;               \
  };
KSEG_ELEMENT_TYPE(bool, kBool, "bool")
KSEG_ELEMENT_TYPE(uint8_t, kUint8, "uint8")
KSEG_ELEMENT_TYPE(int8_t, kInt8, "int8")
KSEG_ELEMENT_TYPE(uint16_t, kUint16, "uint16")
KSEG_ELEMENT_TYPE(int32_t, kInt32, "int32")
KSEG_ELEMENT_TYPE(int64_t, kInt64, "int64")
KSEG_ELEMENT_TYPE(Half, kHalf, "float16")
KSEG_ELEMENT_TYPE(BFloat16, kBFloat16, "bfloat16")
KSEG_ELEMENT_TYPE(float, kFloat, "float32")
KSEG_ELEMENT_TYPE(double, kDouble, "float64")
#undef KSEG_ELEMENT_TYPE

// Only attributes that the op declares are asked for. A list of strings must not hold commas.
class OpAttributes {
 public:
  virtual ~OpAttributes() = default;
  virtual Status get(const char* name, bool* value) const = 0;
  virtual Status get(const char* name, int64_t* value) const = 0;
  virtual Status get(const char* name, float* value) const = 0;
  virtual Status get(const char* name, std::string* value) const = 0;
  virtual Status get(const char* name, std::vector<bool>* value) const = 0;
  virtual Status get(const char* name, std::vector<int64_t>* value) const = 0;
  virtual Status get(const char* name, std::vector<float>* value) const = 0;
  virtual Status get(const char* name, std::vector<std::string>* value) const = 0;
};

// An input, whose memory must be read as nothing but `type`.
struct Array {
  ElementType type = ElementType::kOther;
  const void* data = nullptr;
  std::vector<int64_t> shape;

  int rank() const { return static_cast<int>(shape.size()); }
  int64_t size() const {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    return count;
  }
  std::string shape_text() const {
    std::string text = "[";
    for (const int64_t extent : shape) text += (text.size() > 1 ? "," : "") + std::to_string(extent);
    return text + "]";
  }
};

template <class T>
struct ElementTag {
  using type = T;
};

// Calls visit(ElementTag<T>()) with the T among Ts that `type` names.
template <class... Ts, class Visitor>
Status visit_type(ElementType type, const char* argument, Visitor&& visit) {
  Status status = invalid_argument(argument, " has a type of elements that this op does not take");
  const auto attempt = [&](auto tag) {
    if (ElementTypeOf<typename decltype(tag)::type>::value != type) return false;
    status = visit(tag);
    return true;
  };
  (void)(attempt(ElementTag<Ts>()) || ...);
  return status;
}

class OpCall {
 public:
  virtual ~OpCall() = default;

  virtual int num_inputs() const = 0;
  virtual Array input(int index) const = 0;
  virtual const ParallelFor& parallel_for() const = 0;

  // What kernels on a GPU are lent where inputs and results lie in its memory; null on the CPU. Inputs that shapes or
  // counts are read from lie in the host's memory all the same.
  virtual const CudaContext* cuda() const { return nullptr; }

  // False: nobody reads this result, so it may be left out.
  virtual bool wants_output(int) const { return true; }

  // A view of an input; InvalidArgument for another rank or element type. `name` is the input's.
  template <class T, int rank>
  Status input(int index, const char* name, View<const T, rank>* view) const {
    const Array array = input(index);
    if (array.type != ElementTypeOf<T>::value) {
      return invalid_argument(name, " must have elements of type ", ElementTypeOf<T>::name);
    }
    return input_bytes(array, name, view);
  }

  // The same for elements that are handled as bits: only their size has to be that of T.
  template <class T, int rank>
  static Status input_bytes(const Array& array, const char* name, View<const T, rank>* view) {
    if (array.rank() != rank) {
      return invalid_argument(name, " must have rank ", rank, ", got shape ", array.shape_text());
    }
    view->data = static_cast<const T*>(array.data);
    std::copy(array.shape.begin(), array.shape.end(), view->shape.begin());
    return Status();
  }

  // Binary masks, in which whatever is not 0 is set: bool, uint8 or int8.
  template <int rank>
  Status input_mask(int index, const char* name, View<const uint8_t, rank>* view) const {
    const Array array = input(index);
    return visit_type<bool, uint8_t, int8_t>(array.type, name, [&](auto) { return input_bytes(array, name, view); });
  }

  // The `count` entries of a vector of int32 or int64, described as `entries` where there are more or fewer.
  Status input_integers(int index, const char* name, int64_t count, const char* entries, int64_t* values) const {
    const Array array = input(index);
    if (array.rank() != 1) return invalid_argument(name, " must have rank 1, got shape ", array.shape_text());
    if (array.size() != count) return invalid_argument(name, " must have ", entries, ", got ", array.size());
    if (array.type == ElementType::kInt32) {
      std::copy_n(static_cast<const int32_t*>(array.data), count, values);
    } else if (array.type == ElementType::kInt64) {
      std::copy_n(static_cast<const int64_t*>(array.data), count, values);
    } else {
      return invalid_argument(name, " must have elements of type int32 or int64");
    }
    return Status();
  }

  // The shape of an array whose elements take `element_bytes`, from an input.
  Status input_shape(int index, const char* name, int64_t element_bytes, Shape<4>* shape) const {
    KSEG_RETURN_IF_ERROR(input_integers(index, name, 4, "four entries", shape->data()));
    const auto& [batch, height, width, channels] = *shape;
    return check_result_size(name, {batch, height, width, channels, element_bytes});
  }

  // Takes memory for a result. `reuse`: an input that may give its own if nobody else needs it.
  template <class T, int rank>
  Status output(int index, const std::common_type_t<Shape<rank>>& shape, View<T, rank>* view, int reuse = -1) {
    Shape<rank + 1> extents{static_cast<int64_t>(sizeof(T))};
    std::copy(shape.begin(), shape.end(), extents.begin() + 1);
    KSEG_RETURN_IF_ERROR(check_result_size("the shape of the result", extents));
    void* data = nullptr;
    KSEG_RETURN_IF_ERROR(allocate(index, {shape.begin(), shape.end()}, reuse, &data));
    *view = {static_cast<T*>(data), shape};
    return Status();
  }

  // A result whose length is known only now.
  template <class T>
  Status output_values(int index, const std::vector<T>& values) {
    View<T, 1> view;
    KSEG_RETURN_IF_ERROR(output(index, {static_cast<int64_t>(values.size())}, &view));
    std::copy(values.begin(), values.end(), view.data);
    return Status();
  }

 private:
  virtual Status allocate(int index, const std::vector<int64_t>& shape, int reuse, void** data) = 0;
};

// Kernels for a GPU exist for elements of up to this many bytes: not for double.
inline constexpr size_t kMostCudaElementBytes = 4;

// Runs the kernel of the device that the call's arrays of T lie on: on_cpu(const ParallelFor&) or
// on_gpu(const CudaContext&). The latter takes `const auto&`, so that what it calls need not exist where this library
// is built without CUDA.
template <class T, class OnCpu, class OnGpu>
Status run_on_device(const OpCall& call, const OnCpu& on_cpu, [[maybe_unused]] const OnGpu& on_gpu) {
#if KSEG_CUDA
  if (const CudaContext* const cuda = call.cuda()) {
    if constexpr (sizeof(T) <= kMostCudaElementBytes) return on_gpu(*cuda);
    return internal_error("there is no CUDA kernel for ", sizeof(T), "-byte elements");
  }
#endif
  return on_cpu(call.parallel_for());
}

}  // namespace kseg

#endif  // KSEG_BASE_OP_CALL_H_
