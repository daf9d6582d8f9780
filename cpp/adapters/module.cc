// The NumPy module: every op on arrays, and the switches of the kernel library.
#include "adapters/numpy_adapter.h"
#include "base/target.h"
#include "kseg_op_list.h"  // made by CMake from ops.cmake: KSEG_FOR_EACH_OP(X)

namespace kseg {

#define KSEG_DECLARE_BIND(op) void bind_##op(py::module_& module);
KSEG_FOR_EACH_OP(KSEG_DECLARE_BIND)
#undef KSEG_DECLARE_BIND

namespace {

int64_t simd_calls(const std::string& name) {
  for (Target target : supported_targets()) {
    if (name == target_name(target)) return target_calls(target);
  }
  throw py::value_error("name must be a SIMD target that this machine supports, got '" + name + "'");
}

py::list supported_names() {
  py::list names;
  for (Target target : supported_targets()) names.append(target_name(target));
  return names;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "kseg's compiled kernels on NumPy arrays.";
  module.def("simd_target", [] { return std::string(target_name(active_target())); });
  module.def("set_simd_target", [](const std::string& name) { raise_if_error(set_target(name)); }, py::arg("name"));
  module.def("supported_simd_targets", &supported_names);
  module.def("simd_calls", &simd_calls, py::arg("name"));
  module.def("simd_problem", &target_problem);
  module.def("num_threads", &numpy_threads);
  module.def("set_num_threads", &set_numpy_threads, py::arg("count"));
#define KSEG_BIND(op) bind_##op(module);
  KSEG_FOR_EACH_OP(KSEG_BIND)
#undef KSEG_BIND
}

}  // namespace kseg
