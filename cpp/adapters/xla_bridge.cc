// Tells XLA, when it compiles a TensorFlow graph, how to call the ops: one custom call per op, to the handler of the
// same name that <op>_xla.cc registers. Everything an op needs to be lowered, TensorFlow knows already: its shape
// function gives the results' shapes, and its attributes go along under their own names.
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "tensorflow/compiler/tf2xla/type_util.h"
#include "tensorflow/compiler/tf2xla/xla_op_kernel.h"
#include "tensorflow/compiler/tf2xla/xla_op_registry.h"
#include "tensorflow/core/framework/kernel_def_builder.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/framework/shape_inference.h"
#include "tensorflow/core/framework/versions.pb.h"
#include "xla/hlo/builder/xla_builder.h"
#include "xla/layout_util.h"
#include "xla/shape_util.h"

namespace kseg {
namespace {

using tensorflow::AttrValue;
using tensorflow::Tensor;
using tensorflow::XlaOpKernelContext;

// -- attributes, as the text of an MLIR dictionary
// ---------------------------------------------------------------------

// Nine digits and an exponent give a float back exactly. What is not finite has no decimal form.
std::string text_of(float value) {
  char text[32];
  if (std::isfinite(value)) {
    std::snprintf(text, sizeof text, "%.8e", value);
  } else {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    std::snprintf(text, sizeof text, "0x%08" PRIX32, bits);
  }
  return text;
}
// Seventeen digits, for a double.
std::string text_of(double value) {
  char text[32];
  if (std::isfinite(value)) {
    std::snprintf(text, sizeof text, "%.16e", value);
  } else {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    std::snprintf(text, sizeof text, "0x%016" PRIX64, bits);
  }
  return text;
}
std::string text_of(int64_t value) { return absl::StrCat(value); }
std::string text_of(bool value) { return value ? "1" : "0"; }

template <class List>
std::string array_of(const char* type, const List& list) {
  const auto append = [](std::string* out, auto value) { out->append(text_of(value)); };
  return absl::StrCat("array<", type, list.empty() ? "" : ": ", absl::StrJoin(list, ", ", append), ">");
}

// Neither MLIR's nor the FFI's lists hold strings or bools: see adapters/xla_adapter.h.
std::string list_text(const AttrValue::ListValue& list, const std::string& declared) {
  if (declared == "list(int)") return array_of("i64", list.i());
  if (declared == "list(bool)") return array_of("i64", list.b());
  if (declared == "list(float)") return array_of("f32", list.f());
  return absl::StrCat("\"", absl::CEscape(absl::StrJoin(list.s(), ",")), "\"");
}

// Empty for what the handlers see anyway, the types of the inputs.
std::string attribute_text(const AttrValue& value, const std::string& declared) {
  switch (value.value_case()) {
    case AttrValue::kB:
      return value.b() ? "true" : "false";
    case AttrValue::kI:
      return absl::StrCat(value.i(), " : i64");
    case AttrValue::kF:
      return absl::StrCat(text_of(value.f()), " : f32");
    case AttrValue::kS:
      return absl::StrCat("\"", absl::CEscape(value.s()), "\"");
    case AttrValue::kList:
      return list_text(value.list(), declared);
    default:
      return "";
  }
}

// The value of an input that is known while compiling, for platforms on which the host cannot read the buffer.
std::string constant_text(const Tensor& value) {
  switch (value.dtype()) {
    case tensorflow::DT_INT32: {
      const auto numbers = value.flat<int32_t>();
      return array_of("i64", std::vector<int64_t>(numbers.data(), numbers.data() + numbers.size()));
    }
    case tensorflow::DT_INT64: {
      const auto numbers = value.flat<int64_t>();
      return array_of("i64", std::vector<int64_t>(numbers.data(), numbers.data() + numbers.size()));
    }
    case tensorflow::DT_DOUBLE: {
      const auto numbers = value.flat<double>();
      return array_of("f64", std::vector<double>(numbers.data(), numbers.data() + numbers.size()));
    }
    default:
      return "";
  }
}

// Inputs whose values are known while compiling, null for all others.
using Constants = std::vector<const Tensor*>;

std::string dictionary_of(const tensorflow::NodeDef& node, const tensorflow::OpDef& op, const Constants& constants) {
  std::vector<std::string> entries;
  for (const auto& attribute : op.attr()) {
    const auto found = node.attr().find(attribute.name());
    if (found == node.attr().end()) continue;
    const std::string text = attribute_text(found->second, attribute.type());
    if (!text.empty()) entries.push_back(absl::StrCat("\"", attribute.name(), "\" = ", text));
  }
  for (size_t index = 0; index < constants.size(); ++index) {
    const std::string text = constants[index] == nullptr ? "" : constant_text(*constants[index]);
    if (!text.empty()) entries.push_back(absl::StrCat("\"constant_", index, "\" = ", text));
  }
  return absl::StrCat("{", absl::StrJoin(entries, ", "), "}");
}

// -- shapes
// ------------------------------------------------------------------------------------------------------------

// Unimplemented, so that clusters that TensorFlow chose by itself fall back to the ordinary ops.
absl::Status depends_on_values(const std::string& op, const std::string& what, const std::string& shape) {
  return absl::UnimplementedError(
      absl::StrCat(op, " cannot be compiled by XLA here, which needs shapes that do not depend on values: ", what,
                   " has shape ", shape, ". Call it outside of jit_compile=True"));
}

// The input's dense shape in row-major order, as kernels read it.
absl::Status input_shape(XlaOpKernelContext* context, int index, const std::string& op, xla::Shape* shape) {
  TF_ASSIGN_OR_RETURN(*shape, context->InputXlaShape(index));
  if (shape->is_dynamic()) return depends_on_values(op, absl::StrCat("input ", index), shape->ToString());
  xla::LayoutUtil::SetToDefaultLayout(shape);
  return absl::OkStatus();
}

// Of the results, from the op's own shape function.
absl::Status result_shapes(const tensorflow::OpKernel& kernel, const tensorflow::OpRegistrationData& op,
                           const std::vector<xla::Shape>& inputs, const Constants& constants,
                           std::vector<xla::Shape>* results) {
  std::vector<tensorflow::PartialTensorShape> shapes;
  for (const xla::Shape& shape : inputs) shapes.emplace_back(shape.dimensions());
  tensorflow::shape_inference::InferenceContext inference(TF_GRAPH_DEF_VERSION, kernel.def(), op.op_def, shapes,
                                                          constants, std::vector<tensorflow::PartialTensorShape>(), {});
  TF_RETURN_IF_ERROR(inference.construction_status());
  TF_RETURN_IF_ERROR(inference.Run(op.shape_inference_fn));
  for (int index = 0; index < kernel.num_outputs(); ++index) {
    const auto output = inference.output(index);
    if (!inference.FullyDefined(output))
      return depends_on_values(kernel.type_string(), "a result", inference.DebugString(output));
    std::vector<int64_t> extents;
    for (int axis = 0; axis < inference.Rank(output); ++axis) {
      extents.push_back(inference.Value(inference.Dim(output, axis)));
    }
    xla::PrimitiveType type;
    TF_RETURN_IF_ERROR(tensorflow::DataTypeToPrimitiveType(kernel.output_type(index), &type));
    results->push_back(xla::ShapeUtil::MakeShape(type, extents));
  }
  return absl::OkStatus();
}

// -- the lowering
// ------------------------------------------------------------------------------------------------------

class CustomCallOp final : public tensorflow::XlaOpKernel {
 public:
  explicit CustomCallOp(tensorflow::OpKernelConstruction* context) : XlaOpKernel(context) {}

  void Compile(XlaOpKernelContext* context) override { OP_REQUIRES_OK(context, compile(context)); }

 private:
  absl::Status compile(XlaOpKernelContext* context) const {
    const tensorflow::OpRegistrationData* op;
    TF_RETURN_IF_ERROR(tensorflow::OpRegistry::Global()->LookUp(type_string(), &op));
    std::vector<xla::XlaOp> operands;
    std::vector<xla::Shape> inputs(context->num_inputs()), results;
    for (int index = 0; index < context->num_inputs(); ++index) {
      operands.push_back(context->Input(index));
      TF_RETURN_IF_ERROR(input_shape(context, index, type_string(), &inputs[index]));
    }
    std::vector<int> indices;
    TF_RETURN_IF_ERROR(tensorflow::XlaOpRegistry::CompileTimeConstantInputs(*this, &indices));
    std::vector<Tensor> values(inputs.size());
    Constants constants(inputs.size(), nullptr);
    for (const int index : indices) {
      TF_ASSIGN_OR_RETURN(values[index], context->ConstantInputTensor(index));
      constants[index] = &values[index];
    }
    TF_RETURN_IF_ERROR(result_shapes(*this, *op, inputs, constants, &results));
    const bool one = results.size() == 1;
    const xla::XlaOp call = xla::CustomCallWithLayout(
        context->builder(), type_string(), operands, one ? results[0] : xla::ShapeUtil::MakeTupleShape(results), inputs,
        dictionary_of(def(), op->op_def, constants), /*has_side_effect=*/false, {}, nullptr,
        xla::CustomCallSchedule::SCHEDULE_NONE, xla::CustomCallApiVersion::API_VERSION_TYPED_FFI);
    for (size_t index = 0; index < results.size(); ++index) {
      context->SetOutput(index, one ? call : xla::GetTupleElement(call, index));
    }
    return absl::OkStatus();
  }
};

// -- which ops
// ---------------------------------------------------------------------------------------------------------

tensorflow::OpKernel* make_kernel(tensorflow::OpKernelConstruction* context) { return new CustomCallOp(context); }

// TensorFlow collects these registrations when XLA is first used in a process, and not again: an op that comes later is
// put beside them by hand.
bool collected() {
  const tensorflow::KernelDef* found;
  tensorflow::NodeDef node;
  node.set_name("probe");
  node.set_op("AddV2");
  (*node.mutable_attr())["T"].set_type(tensorflow::DT_FLOAT);
  return tensorflow::FindKernelDef(tensorflow::DeviceType(tensorflow::DEVICE_CPU_XLA_JIT), node, &found, nullptr).ok();
}

enum class Handlers { kHostAndCuda, kHost };

// An op, and those of its inputs that the host reads: its results' shapes depend on their values, or its kernel's plan.
struct Lowering {
  const char* op;
  std::vector<const char*> constants;
  Handlers handlers = Handlers::kHostAndCuda;

  void add(bool late) const {
    std::vector<const char*> devices = {tensorflow::DEVICE_CPU_XLA_JIT};
#if KSEG_CUDA
    if (handlers == Handlers::kHostAndCuda) devices.push_back(tensorflow::DEVICE_GPU_XLA_JIT);
#endif
    auto builder = tensorflow::XlaOpRegistrationBuilder::Name(op);
    for (const char* const input : constants) builder.CompileTimeConstantInput(input);
    for (const char* const device : devices) builder.Device(device);
    tensorflow::XlaOpRegistrar(builder.Build(make_kernel));
    if (!late) return;
    for (const char* const device : devices) {
      tensorflow::KernelDefBuilder kernel(op);
      tensorflow::kernel_factory::OpKernelRegistrar(kernel.Device(device).Build(), "kseg::CustomCallOp", make_kernel);
    }
  }
};

[[maybe_unused]] const bool kAdded = [] {
  const bool late = collected();
  for (const Lowering& lowering : {
           Lowering{"Kseg>Aspp", {}},
           Lowering{"Kseg>AtrousConv2d", {}},
           Lowering{"Kseg>AtrousSeparableConv2d", {}},
           Lowering{"Kseg>BatchedNms", {}},
           Lowering{"Kseg>ConfusionMatrix", {}},
           Lowering{"Kseg>ConnectedComponents", {}},
           Lowering{"Kseg>CropMasks", {"image_size"}},
           Lowering{"Kseg>CropMasksPolygon", {"image_size"}},
           Lowering{"Kseg>CropMasksRle", {"image_size"}},
           Lowering{"Kseg>DepthwiseAtrousConv2d", {}},
           Lowering{"Kseg>DepthwiseAtrousConv2dFilterGrad", {}},
           Lowering{"Kseg>DepthwiseAtrousConv2dInputGrad", {}},
           Lowering{"Kseg>DistanceTransform", {"sampling"}},
           Lowering{"Kseg>MaskIou", {}},
           Lowering{"Kseg>MaskNms", {}},
           Lowering{"Kseg>MaxPoolWithIndices", {}},
           Lowering{"Kseg>MaxPoolWithIndicesGrad", {"x_shape"}},
           Lowering{"Kseg>MaxUnpool2d", {"output_size"}},
           Lowering{"Kseg>MaxUnpool2dGrad", {}},
           Lowering{"Kseg>MultilevelRoiAlign", {}},
           Lowering{"Kseg>MultilevelRoiAlignGrad", {"features_shapes"}},
           Lowering{"Kseg>Nms", {}, Handlers::kHost},
           Lowering{"Kseg>PasteMasks", {"image_size"}},
           Lowering{"Kseg>PasteMasksRle", {}, Handlers::kHost},
           Lowering{"Kseg>ResizeArgmax", {"size"}},
           Lowering{"Kseg>ResizeSoftmaxCrossEntropy", {}},
           Lowering{"Kseg>ResizeSoftmaxCrossEntropyAndDice", {}},
           Lowering{"Kseg>ResizeSoftmaxCrossEntropyAndDiceGrad", {}},
           Lowering{"Kseg>ResizeSoftmaxCrossEntropyGrad", {}},
           Lowering{"Kseg>ResizeSoftmaxCrossEntropyTraining", {}},
           Lowering{"Kseg>ResizeSoftmaxCrossEntropyTrainingGrad", {}},
           Lowering{"Kseg>RoiAlign", {}},
           Lowering{"Kseg>RoiAlignGrad", {"features_shape"}},
       }) {
    lowering.add(late);
  }
  return true;
}();

}  // namespace
}  // namespace kseg
