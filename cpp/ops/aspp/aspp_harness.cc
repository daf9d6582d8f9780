#include "cuda_harness/harness.h"
#include "ops/aspp/aspp_cuda.h"

namespace {

// Takes the arrays of a call and its numbers in order.
class Reader {
 public:
  explicit Reader(const kseg::HarnessCall& call) : call_(call) {}

  template <class T, int rank>
  kseg::View<T, rank> array() {
    return call_.array<T, rank>(array_++);
  }
  int64_t integer() { return call_.integer(number_++); }

  // filters, scale, offset; activation
  template <class T>
  kseg::AsppConvolution<T> convolution() {
    kseg::AsppConvolution<T> made;
    made.filters = array<const T, 4>();
    made.scale = array<const float, 1>();
    made.offset = array<const float, 1>();
    made.activation = static_cast<kseg::Activation>(integer());
    return made;
  }

 private:
  const kseg::HarnessCall& call_;
  int64_t array_ = 0;
  int64_t number_ = 0;
};

}  // namespace

// x; of each branch filters, scale, offset and, if it is separable, depthwise filters, scale, offset; filters, scale,
// offset of pooling, if there is any, and of the projection -> output. Numbers: how many branches; of each its
// activation, rate of rows and columns, separable and then the depthwise activation; pooling and then its activation;
// the projection's activation.
KSEG_HARNESS(aspp) {
  using namespace kseg;
  return call.visit_dtype<float, Half, BFloat16>(0, [&](auto tag) {
    using T = typename decltype(tag)::type;
    Reader read(call);
    AsppArgs<T> args;
    args.x = read.template array<const T, 4>();
    const int64_t count = read.integer();
    for (int64_t i = 0; i < count; ++i) {
      AsppConvolution<T> branch = read.template convolution<T>();
      for (int64_t& rate : branch.rate) rate = read.integer();
      branch.separable = read.integer() != 0;
      if (branch.separable) {
        branch.depthwise = read.template array<const T, 4>();
        branch.depthwise_scale = read.template array<const float, 1>();
        branch.depthwise_offset = read.template array<const float, 1>();
        branch.depthwise_activation = static_cast<Activation>(read.integer());
      }
      args.branches.push_back(branch);
    }
    if (read.integer() != 0) args.pooling.push_back(read.template convolution<T>());
    args.projection = read.template convolution<T>();
    args.output = read.template array<T, 4>();
    return aspp_cuda<T>(args, call.context());
  });
}
