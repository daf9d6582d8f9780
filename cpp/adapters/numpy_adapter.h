// From NumPy arrays and Python errors to the views and statuses that kernels speak. Only this file, module.cc and
// *_py.cc know pybind11.
#ifndef KSEG_ADAPTERS_NUMPY_ADAPTER_H_
#define KSEG_ADAPTERS_NUMPY_ADAPTER_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "adapters/numpy_pool.h"
#include "base/half.h"
#include "base/result_size.h"
#include "base/status.h"
#include "base/view.h"

namespace kseg {

namespace py = pybind11;

inline void raise_if_error(const Status& status) {
  if (status.ok()) return;
  throw py::value_error(status.message());
}

// "float32", "float16", "bfloat16" (of the ml_dtypes package), "uint8", ...
inline std::string dtype_name(const py::array& array) { return py::str(array.dtype().attr("name")); }

template <class T>
struct NumpyName;
#define KSEG_NUMPY_NAME(T, text)               \
  template <>                                  \
  struct NumpyName<T> {                        \
    static constexpr const char* value = text; \
  };
KSEG_NUMPY_NAME(float, "float32")
KSEG_NUMPY_NAME(double, "float64")
KSEG_NUMPY_NAME(Half, "float16")
KSEG_NUMPY_NAME(BFloat16, "bfloat16")
KSEG_NUMPY_NAME(uint8_t, "uint8")
KSEG_NUMPY_NAME(int8_t, "int8")
KSEG_NUMPY_NAME(uint16_t, "uint16")
KSEG_NUMPY_NAME(int32_t, "int32")
KSEG_NUMPY_NAME(int64_t, "int64")
#undef KSEG_NUMPY_NAME

// The array in row-major order and native byte order, copied only if it is not so already. Keep the result alive for as
// long as its view is used.
inline py::array dense(const py::array& array) {
  return py::reinterpret_steal<py::array>(py::detail::npy_api::get().PyArray_FromAny_(
      array.ptr(), nullptr, 0, 0,
      py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_, nullptr));
}

// A view of `array`, which must come from dense(). TypeError for another dtype, ValueError for another rank.
template <class T, int rank>
View<const T, rank> view_of(const py::array& array, const char* argument) {
  if (dtype_name(array) != NumpyName<T>::value || !array.dtype().attr("isnative").template cast<bool>()) {
    throw py::type_error(std::string(argument) + " must be " + NumpyName<T>::value + ", got " +
                         std::string(py::str(array.dtype())));
  }
  if (array.ndim() != rank) {
    throw py::value_error(std::string(argument) + " must have rank " + std::to_string(rank) + ", got rank " +
                          std::to_string(array.ndim()));
  }
  View<const T, rank> view;
  view.data = static_cast<const T*>(array.data());
  for (int axis = 0; axis < rank; ++axis) view.shape[axis] = array.shape(axis);
  return view;
}

// A new array of the dtype of `like`, with a view to write through.
template <class T, int rank>
std::pair<py::array, View<T, rank>> new_array(const py::dtype& dtype, const Shape<rank>& shape) {
  Shape<rank + 1> extents{static_cast<int64_t>(sizeof(T))};
  std::copy(shape.begin(), shape.end(), extents.begin() + 1);
  raise_if_error(check_result_size("the shape of the result", extents));
  py::array array(dtype, std::vector<py::ssize_t>(shape.begin(), shape.end()));
  return {array, View<T, rank>{static_cast<T*>(array.mutable_data()), shape}};
}
template <class T, int rank>
std::pair<py::array, View<T, rank>> new_array(const Shape<rank>& shape) {
  return new_array<T, rank>(py::dtype::of<T>(), shape);
}

template <class T>
struct TypeTag {
  using type = T;
};

// Calls visit(TypeTag<T>()) with the T among Ts that is the array's dtype; TypeError that lists them if none is.
template <class First, class... Rest, class Visitor>
auto visit_dtype(const py::array& array, const char* argument, Visitor&& visit, std::string tried = "") {
  tried += (tried.empty() ? "" : ", ") + std::string(NumpyName<First>::value);
  if (dtype_name(array) == NumpyName<First>::value) return visit(TypeTag<First>());
  if constexpr (sizeof...(Rest) > 0) {
    return visit_dtype<Rest...>(array, argument, std::forward<Visitor>(visit), tried);
  } else {
    throw py::type_error(std::string(argument) + " must be one of " + tried + ", got " + dtype_name(array));
  }
}

// Runs a kernel without the GIL, then raises what it found wrong; std::bad_alloc becomes a MemoryError.
template <class Call>
void run_kernel(Call&& call) {
  Status status;
  {
    py::gil_scoped_release release;
    status = call(numpy_pool());
  }
  raise_if_error(status);
}

}  // namespace kseg

#endif  // KSEG_ADAPTERS_NUMPY_ADAPTER_H_
