#include "ops/aspp/aspp.h"

#include <string>
#include <vector>

#include "adapters/tf_adapter.h"
#include "tensorflow/core/framework/op.h"

namespace kseg {
namespace {

struct Attributes {
  std::vector<std::array<int64_t, 2>> rates;
  std::vector<bool> separable;
  std::vector<Activation> activations, depthwise_activations;
  Activation pooling_activation, projection_activation;
};

absl::Status wrong_count(const char* attribute, int64_t expected, int64_t got) {
  return to_absl(invalid_argument(attribute, " must have ", expected, " entries, got ", got));
}

template <class Context>
absl::Status get_activations(Context* context, const char* attribute, int64_t expected, std::vector<Activation>* to) {
  std::vector<std::string> names;
  TF_RETURN_IF_ERROR(context->GetAttr(attribute, &names));
  if (static_cast<int64_t>(names.size()) != expected) return wrong_count(attribute, expected, names.size());
  to->resize(names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    TF_RETURN_IF_ERROR(to_absl(parse_activation(names[i], attribute, &(*to)[i])));
  }
  return absl::OkStatus();
}

template <class Context>
absl::Status get_attributes(Context* context, Attributes* attributes) {
  int64_t branches, separable, pooling;
  std::vector<int64_t> rates;
  std::string name;
  TF_RETURN_IF_ERROR(context->GetAttr("num_branches", &branches));
  TF_RETURN_IF_ERROR(context->GetAttr("num_separable", &separable));
  TF_RETURN_IF_ERROR(context->GetAttr("num_pooling", &pooling));
  TF_RETURN_IF_ERROR(context->GetAttr("rates", &rates));
  TF_RETURN_IF_ERROR(context->GetAttr("separable", &attributes->separable));
  if (static_cast<int64_t>(rates.size()) != 2 * branches) return wrong_count("rates", 2 * branches, rates.size());
  if (static_cast<int64_t>(attributes->separable.size()) != branches) {
    return wrong_count("separable", branches, attributes->separable.size());
  }
  if (std::count(attributes->separable.begin(), attributes->separable.end(), true) != separable) {
    return to_absl(
        invalid_argument("separable must be true for as many branches as there are depthwise filters, ", separable));
  }
  if (pooling > 1) return to_absl(invalid_argument("num_pooling must be 0 or 1, got ", pooling));
  for (int64_t i = 0; i < branches; ++i) {
    for (const int axis : {0, 1}) {
      const Status status = check_conv_rate(rates[2 * i + axis]);
      if (!status.ok()) return to_absl(invalid_argument("rates: ", status.message()));
    }
    attributes->rates.push_back({rates[2 * i], rates[2 * i + 1]});
  }
  TF_RETURN_IF_ERROR(get_activations(context, "activations", branches, &attributes->activations));
  TF_RETURN_IF_ERROR(get_activations(context, "depthwise_activations", separable, &attributes->depthwise_activations));
  TF_RETURN_IF_ERROR(context->GetAttr("pooling_activation", &name));
  TF_RETURN_IF_ERROR(to_absl(parse_activation(name, "pooling_activation", &attributes->pooling_activation)));
  TF_RETURN_IF_ERROR(context->GetAttr("projection_activation", &name));
  return to_absl(parse_activation(name, "projection_activation", &attributes->projection_activation));
}

// Merges the output channels of one set of filters with the sizes of its scale and offset.
absl::Status merge_channels(InferenceContext* context, ShapeHandle filters, ShapeHandle scale, ShapeHandle offset,
                            DimensionHandle inputs, DimensionHandle* outputs) {
  DimensionHandle unused;
  TF_RETURN_IF_ERROR(context->WithRank(filters, 4, &filters));
  TF_RETURN_IF_ERROR(context->WithRank(scale, 1, &scale));
  TF_RETURN_IF_ERROR(context->WithRank(offset, 1, &offset));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(filters, 2), inputs, &unused));
  TF_RETURN_IF_ERROR(context->Merge(context->Dim(filters, 3), context->Dim(scale, 0), outputs));
  return context->Merge(*outputs, context->Dim(offset, 0), outputs);
}

absl::Status infer_shape(InferenceContext* context) {
  Attributes attributes;
  TF_RETURN_IF_ERROR(get_attributes(context, &attributes));
  std::vector<ShapeHandle> x, filters, scales, offsets, depthwise, depthwise_scales, depthwise_offsets;
  TF_RETURN_IF_ERROR(context->input("x", &x));
  ShapeHandle features;
  TF_RETURN_IF_ERROR(context->WithRank(x[0], 4, &features));
  const DimensionHandle channels = context->Dim(features, 3);
  DimensionHandle sum = context->MakeDim(0), outputs;
  for (const std::string prefix : {"branch", "pooling"}) {
    TF_RETURN_IF_ERROR(context->input(prefix + "_filters", &filters));
    TF_RETURN_IF_ERROR(context->input(prefix + "_scales", &scales));
    TF_RETURN_IF_ERROR(context->input(prefix + "_offsets", &offsets));
    for (size_t i = 0; i < filters.size(); ++i) {
      TF_RETURN_IF_ERROR(merge_channels(context, filters[i], scales[i], offsets[i], channels, &outputs));
      TF_RETURN_IF_ERROR(context->Add(sum, outputs, &sum));
    }
  }
  TF_RETURN_IF_ERROR(context->input("depthwise", &depthwise));
  TF_RETURN_IF_ERROR(context->input("depthwise_scales", &depthwise_scales));
  TF_RETURN_IF_ERROR(context->input("depthwise_offsets", &depthwise_offsets));
  for (size_t i = 0; i < depthwise.size(); ++i) {
    ShapeHandle kernel;
    DimensionHandle unused;
    TF_RETURN_IF_ERROR(context->WithRank(depthwise[i], 4, &kernel));
    TF_RETURN_IF_ERROR(context->WithValue(context->Dim(kernel, 3), 1, &unused));
    TF_RETURN_IF_ERROR(context->Merge(context->Dim(kernel, 2), channels, &unused));
    for (ShapeHandle vector : {depthwise_scales[i], depthwise_offsets[i]}) {
      TF_RETURN_IF_ERROR(context->WithRank(vector, 1, &vector));
      TF_RETURN_IF_ERROR(context->Merge(context->Dim(vector, 0), channels, &unused));
    }
  }
  TF_RETURN_IF_ERROR(context->input("projection", &filters));
  TF_RETURN_IF_ERROR(context->input("projection_scale", &scales));
  TF_RETURN_IF_ERROR(context->input("projection_offset", &offsets));
  TF_RETURN_IF_ERROR(merge_channels(context, filters[0], scales[0], offsets[0], sum, &outputs));
  context->set_output(0, context->MakeShape({context->Dim(features, 0), context->Dim(features, 1),
                                             context->Dim(features, 2), outputs}));
  return absl::OkStatus();
}

REGISTER_OP("Kseg>Aspp")
    .Input("x: T")
    .Input("branch_filters: num_branches * T")
    .Input("branch_scales: num_branches * float")
    .Input("branch_offsets: num_branches * float")
    .Input("depthwise: num_separable * T")
    .Input("depthwise_scales: num_separable * float")
    .Input("depthwise_offsets: num_separable * float")
    .Input("pooling_filters: num_pooling * T")
    .Input("pooling_scales: num_pooling * float")
    .Input("pooling_offsets: num_pooling * float")
    .Input("projection: T")
    .Input("projection_scale: float")
    .Input("projection_offset: float")
    .Output("output: T")
    .Attr("T: {float, half, bfloat16}")
    .Attr("num_branches: int >= 1")
    .Attr("num_separable: int >= 0")
    .Attr("num_pooling: int >= 0")
    .Attr("rates: list(int)")
    .Attr("separable: list(bool)")
    .Attr("activations: list(string)")
    .Attr("depthwise_activations: list(string)")
    .Attr("pooling_activation: string = 'relu'")
    .Attr("projection_activation: string = 'relu'")
    .SetShapeFn(infer_shape)
    .Doc(R"doc(
Atrous spatial pyramid pooling of x [B, H, W, C]: branches (those marked separable take the next depthwise filters), the
pooled branch and their projection, each with its scale, offset and activation.
)doc");

// One convolution of the inputs; ranks are checked here.
template <class T, class K = typename KernelType<T>::type>
absl::Status get_convolution(const Tensor& filters, const Tensor& scale, const Tensor& offset, const char* name,
                             AsppConvolution<K>* convolution) {
  TF_RETURN_IF_ERROR(check_rank(filters, 4, name));
  TF_RETURN_IF_ERROR(check_rank(scale, 1, (std::string(name) + " scale").c_str()));
  TF_RETURN_IF_ERROR(check_rank(offset, 1, (std::string(name) + " offset").c_str()));
  convolution->filters = view_of<T, 4>(filters);
  convolution->scale = view_of<float, 1>(scale);
  convolution->offset = view_of<float, 1>(offset);
  return absl::OkStatus();
}

template <class T>
class AsppOp final : public NativeOp {
 public:
  using K = typename KernelType<T>::type;

  explicit AsppOp(OpKernelConstruction* context) : NativeOp(context) {
    OP_REQUIRES_OK(context, get_attributes(context, &attributes_));
  }

  void compute(OpKernelContext* context) const override {
    AsppArgs<K> args;
    OP_REQUIRES_OK(context, get_arguments(context, &args));
    OP_REQUIRES_OK(context, to_absl(check_aspp(args)));
    TensorShape shape;
    OP_REQUIRES_OK(context,
                   TensorShape::BuildTensorShape(
                       {args.x.shape[0], args.x.shape[1], args.x.shape[2], args.projection.filters.shape[3]}, &shape));
    Tensor* output = nullptr;
    OP_REQUIRES_OK(context, context->allocate_output(0, shape, &output));
    args.output = mutable_view_of<T, 4>(output);
    OP_REQUIRES_OK(context, to_absl(aspp(args, TfParallelFor(context))));
  }

 private:
  absl::Status get_arguments(OpKernelContext* context, AsppArgs<K>* args) const {
    const Tensor *x, *projection, *projection_scale, *projection_offset;
    OpInputList filters, scales, offsets, depthwise, depthwise_scales, depthwise_offsets;
    TF_RETURN_IF_ERROR(context->input("x", &x));
    TF_RETURN_IF_ERROR(check_rank(*x, 4, "x"));
    args->x = view_of<T, 4>(*x);
    TF_RETURN_IF_ERROR(context->input_list("branch_filters", &filters));
    TF_RETURN_IF_ERROR(context->input_list("branch_scales", &scales));
    TF_RETURN_IF_ERROR(context->input_list("branch_offsets", &offsets));
    TF_RETURN_IF_ERROR(context->input_list("depthwise", &depthwise));
    TF_RETURN_IF_ERROR(context->input_list("depthwise_scales", &depthwise_scales));
    TF_RETURN_IF_ERROR(context->input_list("depthwise_offsets", &depthwise_offsets));
    int next = 0;
    for (int i = 0; i < filters.size(); ++i) {
      AsppConvolution<K> branch;
      TF_RETURN_IF_ERROR(get_convolution<T>(filters[i], scales[i], offsets[i], "branch_filters", &branch));
      branch.activation = attributes_.activations[i];
      branch.rate = attributes_.rates[i];
      branch.separable = attributes_.separable[i];
      if (branch.separable) {
        TF_RETURN_IF_ERROR(check_rank(depthwise[next], 4, "depthwise"));
        TF_RETURN_IF_ERROR(check_rank(depthwise_scales[next], 1, "depthwise_scales"));
        TF_RETURN_IF_ERROR(check_rank(depthwise_offsets[next], 1, "depthwise_offsets"));
        branch.depthwise = view_of<T, 4>(depthwise[next]);
        branch.depthwise_scale = view_of<float, 1>(depthwise_scales[next]);
        branch.depthwise_offset = view_of<float, 1>(depthwise_offsets[next]);
        branch.depthwise_activation = attributes_.depthwise_activations[next];
        ++next;
      }
      args->branches.push_back(branch);
    }
    TF_RETURN_IF_ERROR(context->input_list("pooling_filters", &filters));
    TF_RETURN_IF_ERROR(context->input_list("pooling_scales", &scales));
    TF_RETURN_IF_ERROR(context->input_list("pooling_offsets", &offsets));
    for (int i = 0; i < filters.size(); ++i) {
      AsppConvolution<K> pooling;
      TF_RETURN_IF_ERROR(get_convolution<T>(filters[i], scales[i], offsets[i], "pooling_filters", &pooling));
      pooling.activation = attributes_.pooling_activation;
      args->pooling.push_back(pooling);
    }
    TF_RETURN_IF_ERROR(context->input("projection", &projection));
    TF_RETURN_IF_ERROR(context->input("projection_scale", &projection_scale));
    TF_RETURN_IF_ERROR(context->input("projection_offset", &projection_offset));
    args->projection.activation = attributes_.projection_activation;
    return get_convolution<T>(*projection, *projection_scale, *projection_offset, "projection", &args->projection);
  }

  Attributes attributes_;
};

#define KSEG_REGISTER(T) \
  REGISTER_KERNEL_BUILDER(Name("Kseg>Aspp").Device(tensorflow::DEVICE_CPU).TypeConstraint<T>("T"), AsppOp<T>);
KSEG_REGISTER(float)
KSEG_REGISTER(Eigen::half)
KSEG_REGISTER(tensorflow::bfloat16)
#undef KSEG_REGISTER

}  // namespace
}  // namespace kseg
