// What Aspp checks and runs, whichever framework calls.
#ifndef KSEG_OPS_ASPP_ASPP_CALL_H_
#define KSEG_OPS_ASPP_ASPP_CALL_H_

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "base/conv_call.h"
#include "ops/aspp/aspp.h"
#include "ops/aspp/aspp_cuda.h"

namespace kseg {

class AsppOp {
 public:
  Status read(const OpAttributes& attributes) {
    std::vector<int64_t> rates;
    std::string name;
    KSEG_RETURN_IF_ERROR(attributes.get("num_branches", &branches_));
    KSEG_RETURN_IF_ERROR(attributes.get("num_separable", &separable_count_));
    KSEG_RETURN_IF_ERROR(attributes.get("num_pooling", &pooling_));
    KSEG_RETURN_IF_ERROR(attributes.get("rates", &rates));
    KSEG_RETURN_IF_ERROR(attributes.get("separable", &separable_));
    KSEG_RETURN_IF_ERROR(check_count("rates", 2 * branches_, rates.size()));
    KSEG_RETURN_IF_ERROR(check_count("separable", branches_, separable_.size()));
    if (std::count(separable_.begin(), separable_.end(), true) != separable_count_) {
      return invalid_argument("separable must be true for as many branches as there are depthwise filters, ",
                              separable_count_);
    }
    if (pooling_ > 1) return invalid_argument("num_pooling must be 0 or 1, got ", pooling_);
    for (int64_t i = 0; i < branches_; ++i) {
      for (const int axis : {0, 1}) {
        const Status status = check_conv_rate(rates[2 * i + axis]);
        if (!status.ok()) return invalid_argument("rates: ", status.message());
      }
      rates_.push_back({rates[2 * i], rates[2 * i + 1]});
    }
    KSEG_RETURN_IF_ERROR(get_activations(attributes, "activations", branches_, &activations_));
    KSEG_RETURN_IF_ERROR(
        get_activations(attributes, "depthwise_activations", separable_count_, &depthwise_activations_));
    KSEG_RETURN_IF_ERROR(attributes.get("pooling_activation", &name));
    KSEG_RETURN_IF_ERROR(parse_activation(name, "pooling_activation", &pooling_activation_));
    KSEG_RETURN_IF_ERROR(attributes.get("projection_activation", &name));
    return parse_activation(name, "projection_activation", &projection_activation_);
  }

  Status run(OpCall& call) const {
    return visit_type<float, Half, BFloat16>(call.input(0).type, "x", [&](auto tag) {
      using T = typename decltype(tag)::type;
      AsppArgs<T> args;
      KSEG_RETURN_IF_ERROR(get_arguments(call, &args));
      KSEG_RETURN_IF_ERROR(check_aspp(args));
      const Shape<4>& x = args.x.shape;
      KSEG_RETURN_IF_ERROR(call.output(0, {x[0], x[1], x[2], args.projection.filters.shape[3]}, &args.output));
      return run_on_device<T>(
          call, [&](const ParallelFor& parallel_for) { return aspp(args, parallel_for); },
          [&](const auto& cuda) { return aspp_cuda(args, cuda); });
    });
  }

 private:
  static Status check_count(const char* attribute, int64_t expected, int64_t got) {
    if (got == expected) return Status();
    return invalid_argument(attribute, " must have ", expected, " entries, got ", got);
  }

  static Status get_activations(const OpAttributes& attributes, const char* attribute, int64_t expected,
                                std::vector<Activation>* to) {
    std::vector<std::string> names;
    KSEG_RETURN_IF_ERROR(attributes.get(attribute, &names));
    KSEG_RETURN_IF_ERROR(check_count(attribute, expected, names.size()));
    to->resize(names.size());
    for (size_t i = 0; i < names.size(); ++i) KSEG_RETURN_IF_ERROR(parse_activation(names[i], attribute, &(*to)[i]));
    return Status();
  }

  // The filters at `index`, and their scale and offset `step` and two steps behind them; `names` of the three.
  template <class T>
  static Status get_convolution(const OpCall& call, int64_t index, int64_t step,
                                const std::array<const char*, 3>& names, View<const T, 4>* filters,
                                View<const float, 1>* scale, View<const float, 1>* offset) {
    KSEG_RETURN_IF_ERROR(call.input(static_cast<int>(index), names[0], filters));
    KSEG_RETURN_IF_ERROR(call.input(static_cast<int>(index + step), names[1], scale));
    return call.input(static_cast<int>(index + 2 * step), names[2], offset);
  }

  template <class T>
  Status get_arguments(const OpCall& call, AsppArgs<T>* args) const {
    const int64_t first_branch = 1;
    const int64_t first_depthwise = first_branch + 3 * branches_;
    const int64_t first_pooling = first_depthwise + 3 * separable_count_;
    const int64_t projection = first_pooling + 3 * pooling_;
    KSEG_RETURN_IF_ERROR(call.input(0, "x", &args->x));
    int64_t next = 0;
    for (int64_t i = 0; i < branches_; ++i) {
      AsppConvolution<T> branch;
      KSEG_RETURN_IF_ERROR(get_convolution(call, first_branch + i, branches_,
                                           {"branch_filters", "branch_scales", "branch_offsets"}, &branch.filters,
                                           &branch.scale, &branch.offset));
      branch.activation = activations_[i];
      branch.rate = rates_[i];
      branch.separable = separable_[i];
      if (branch.separable) {
        KSEG_RETURN_IF_ERROR(get_convolution(call, first_depthwise + next, separable_count_,
                                             {"depthwise", "depthwise_scales", "depthwise_offsets"}, &branch.depthwise,
                                             &branch.depthwise_scale, &branch.depthwise_offset));
        branch.depthwise_activation = depthwise_activations_[next];
        ++next;
      }
      args->branches.push_back(branch);
    }
    for (int64_t i = 0; i < pooling_; ++i) {
      AsppConvolution<T> pooling;
      KSEG_RETURN_IF_ERROR(get_convolution(call, first_pooling + i, pooling_,
                                           {"pooling_filters", "pooling_scales", "pooling_offsets"}, &pooling.filters,
                                           &pooling.scale, &pooling.offset));
      pooling.activation = pooling_activation_;
      args->pooling.push_back(pooling);
    }
    args->projection.activation = projection_activation_;
    return get_convolution(call, projection, 1, {"projection", "projection_scale", "projection_offset"},
                           &args->projection.filters, &args->projection.scale, &args->projection.offset);
  }

  int64_t branches_ = 0, separable_count_ = 0, pooling_ = 0;
  std::vector<std::array<int64_t, 2>> rates_;
  std::vector<bool> separable_;
  std::vector<Activation> activations_, depthwise_activations_;
  Activation pooling_activation_, projection_activation_;
};

}  // namespace kseg

#endif  // KSEG_OPS_ASPP_ASPP_CALL_H_
