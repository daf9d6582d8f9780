// From XLA's buffers, attributes, threads and errors to the ones that kernels speak. Only this file, xla_cuda_adapter.h
// and *_xla.cc know XLA's typed FFI; adapters/xla_bridge.cc tells XLA which TensorFlow op calls which handler.
#ifndef KSEG_ADAPTERS_XLA_ADAPTER_H_
#define KSEG_ADAPTERS_XLA_ADAPTER_H_

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "base/op_call.h"
#include "xla/ffi/api/ffi.h"

namespace xla::ffi {
// The table of functions that a handler registers itself with; TensorFlow's libraries export it.
const XLA_FFI_Api* GetXlaFfiApi();
}  // namespace xla::ffi

namespace kseg {

namespace ffi = xla::ffi;

inline ElementType element_type(ffi::DataType type) {
  switch (type) {
    case ffi::DataType::PRED:
      return ElementType::kBool;
    case ffi::DataType::U8:
      return ElementType::kUint8;
    case ffi::DataType::S8:
      return ElementType::kInt8;
    case ffi::DataType::U16:
      return ElementType::kUint16;
    case ffi::DataType::S32:
      return ElementType::kInt32;
    case ffi::DataType::S64:
      return ElementType::kInt64;
    case ffi::DataType::F16:
      return ElementType::kHalf;
    case ffi::DataType::BF16:
      return ElementType::kBFloat16;
    case ffi::DataType::F32:
      return ElementType::kFloat;
    case ffi::DataType::F64:
      return ElementType::kDouble;
    default:
      return ElementType::kOther;
  }
}

// The FFI has neither lists of bools, which travel as int64, nor lists of strings, which travel with commas between.
class XlaAttributes final : public OpAttributes {
 public:
  explicit XlaAttributes(const ffi::Dictionary& dictionary) : dictionary_(dictionary) {}

  Status get(const char* name, bool* value) const override { return fetch<bool>(name, value); }
  Status get(const char* name, int64_t* value) const override { return fetch<int64_t>(name, value); }
  Status get(const char* name, float* value) const override { return fetch<float>(name, value); }
  Status get(const char* name, std::string* value) const override { return fetch<std::string_view>(name, value); }
  Status get(const char* name, std::vector<bool>* value) const override { return fetch_list<int64_t>(name, value); }
  Status get(const char* name, std::vector<int64_t>* value) const override { return fetch_list<int64_t>(name, value); }
  Status get(const char* name, std::vector<float>* value) const override { return fetch_list<float>(name, value); }
  Status get(const char* name, std::vector<std::string>* value) const override {
    std::string_view text;
    KSEG_RETURN_IF_ERROR(fetch<std::string_view>(name, &text));
    value->clear();
    while (!text.empty()) {
      const size_t comma = std::min(text.find(','), text.size());
      value->emplace_back(text.substr(0, comma));
      text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return Status();
  }

 private:
  template <class T, class Value>
  Status fetch(const char* name, Value* value) const {
    const ffi::ErrorOr<T> found = dictionary_.get<T>(name);
    if (!found.has_value()) return invalid_argument("attribute ", name, ": ", found.error().message());
    *value = *found;
    return Status();
  }

  template <class T, class Value>
  Status fetch_list(const char* name, std::vector<Value>* value) const {
    ffi::Span<const T> entries;
    KSEG_RETURN_IF_ERROR(fetch<ffi::Span<const T>>(name, &entries));
    value->assign(entries.begin(), entries.end());
    return Status();
  }

  const ffi::Dictionary& dictionary_;
};

// Work on the intra-op pool that XLA runs the program with. The caller works too, and never waits for a thread that has
// not begun: it may be one of the pool itself, of which all others may be busy in the same way.
class XlaParallelFor final : public ParallelFor {
 public:
  explicit XlaParallelFor(const ffi::ThreadPool& pool) : pool_(pool), threads_(pool.num_threads()) {}

  int max_threads() const override { return static_cast<int>(threads_) + 1; }
  int useful_threads() const override { return std::max(1, static_cast<int>(threads_)); }

  void run(int64_t total, int64_t cost_per_unit, const Body& body) const override {
    constexpr int64_t kWorthAThread = 40000;  // cycles
    if (total <= 0) return;
    const int64_t least = std::max<int64_t>(1, kWorthAThread / std::max<int64_t>(1, cost_per_unit));
    const int64_t piece = std::max(least, total / (4 * std::max<int64_t>(1, threads_)));
    if (threads_ < 1 || piece >= total) return body(0, total);
    const auto job = std::make_shared<Job>(total, piece, body);
    const int64_t helpers = std::min<int64_t>(threads_, (total + piece - 1) / piece - 1);
    for (int64_t i = 0; i < helpers; ++i) pool_.Schedule([job] { job->help(); });
    job->work();
    job->wait();
    job->guard.rethrow();
  }

 private:
  // Shared with the helpers, of which some may begin when all is done and run() has returned.
  struct Job {
    Job(int64_t total, int64_t piece, const Body& body) : pieces(total, piece), body(body) {}

    void work() {
      for (int64_t begin, end; pieces.take(&begin, &end);) guard.call(body, begin, end);
    }
    void help() {
      {
        std::lock_guard<std::mutex> lock(mutex);
        if (closed) return;
        ++busy;
      }
      work();
      std::lock_guard<std::mutex> lock(mutex);
      if (--busy == 0) idle.notify_all();
    }
    void wait() {
      std::unique_lock<std::mutex> lock(mutex);
      closed = true;
      idle.wait(lock, [this] { return busy == 0; });
    }

    Pieces pieces;
    const Body& body;
    Guard guard;
    std::mutex mutex;
    std::condition_variable idle;
    int busy = 0;
    bool closed = false;
  };

  mutable ffi::ThreadPool pool_;
  int64_t threads_;
};

// A call's buffers. Where they lie, and what its kernel is lent, the platform's own class says.
class XlaCall : public OpCall {
 public:
  XlaCall(const ffi::RemainingArgs& inputs, const ffi::RemainingRets& outputs) : inputs_(inputs), outputs_(outputs) {}

  using OpCall::input;
  int num_inputs() const override { return static_cast<int>(inputs_.size()); }
  Array input(int index) const override {
    const ffi::ErrorOr<ffi::AnyBuffer> buffer = inputs_.get<ffi::AnyBuffer>(index);
    if (!buffer.has_value()) return {};  // of a type that no op takes
    const auto sizes = buffer->dimensions();
    return {element_type(buffer->element_type()), buffer->untyped_data(), {sizes.begin(), sizes.end()}};
  }

 private:
  // XLA has taken the memory already, for the shape that the shape function said.
  Status allocate(int index, const std::vector<int64_t>& shape, int, void** data) override {
    ffi::ErrorOr<ffi::Result<ffi::AnyBuffer>> buffer = outputs_.get<ffi::AnyBuffer>(index);
    if (!buffer.has_value()) return invalid_argument("there is no result ", index);
    const auto sizes = (*buffer)->dimensions();
    if (!std::equal(shape.begin(), shape.end(), sizes.begin(), sizes.end())) {
      const Array wanted{ElementType::kOther, nullptr, shape};
      const Array given{ElementType::kOther, nullptr, {sizes.begin(), sizes.end()}};
      return invalid_argument("result ", index, " must have shape ", wanted.shape_text(), ", got ", given.shape_text());
    }
    *data = (*buffer)->untyped_data();
    return Status();
  }

  const ffi::RemainingArgs& inputs_;
  const ffi::RemainingRets& outputs_;
};

class XlaHostCall final : public XlaCall {
 public:
  XlaHostCall(const ffi::RemainingArgs& inputs, const ffi::RemainingRets& outputs, const ffi::ThreadPool& pool)
      : XlaCall(inputs, outputs), parallel_for_(pool) {}

  const ParallelFor& parallel_for() const override { return parallel_for_; }

 private:
  XlaParallelFor parallel_for_;
};

// Runs an op of base/op_call.h on the call that make_call() makes.
template <class Op, class MakeCall>
ffi::Error run_xla_op(const ffi::Dictionary& attributes, const MakeCall& make_call) {
  try {
    Op op;
    Status status = op.read(XlaAttributes(attributes));
    if (status.ok()) {
      auto call = make_call();
      status = op.run(call);
    }
    switch (status.code()) {
      case StatusCode::kOk:
        return ffi::Error::Success();
      case StatusCode::kInvalidArgument:
        return ffi::Error::InvalidArgument(status.message());
      case StatusCode::kOutOfMemory:
        return ffi::Error(ffi::ErrorCode::kResourceExhausted, status.message());
      case StatusCode::kInternal:
        break;
    }
    return ffi::Error::Internal(status.message());
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "out of memory");
  }
}

template <class Op>
ffi::Error run_xla_host_op(ffi::ThreadPool pool, ffi::RemainingArgs inputs, ffi::RemainingRets outputs,
                           ffi::Dictionary attributes) {
  return run_xla_op<Op>(attributes, [&] { return XlaHostCall(inputs, outputs, pool); });
}

}  // namespace kseg

// Other hosts of XLA than TensorFlow take the handlers as symbols and register them themselves.
#if KSEG_XLA_SYMBOLS_ONLY
#define KSEG_XLA_EXPORT(symbol) \
  extern "C" __attribute__((visibility("default"))) XLA_FFI_Error* symbol(XLA_FFI_CallFrame* frame)
#define KSEG_XLA_REGISTER(name, platform, symbol) static_assert(true)
#else
#define KSEG_XLA_EXPORT(symbol) static_assert(true)
#define KSEG_XLA_REGISTER(name, platform, symbol) \
  XLA_FFI_REGISTER_HANDLER(::xla::ffi::GetXlaFfiApi(), name, platform, symbol)
#endif

// `name` is the TensorFlow op's without "Kseg>"; the handler is the symbol kseg_xla_<name>.
#define KSEG_XLA_HOST_HANDLER(name, ...)                                                              \
  KSEG_XLA_EXPORT(kseg_xla_##name);                                                                   \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(                                                                      \
      kseg_xla_##name, (::kseg::run_xla_host_op<__VA_ARGS__>),                                        \
      ::xla::ffi::Ffi::Bind().Ctx<::xla::ffi::ThreadPool>().RemainingArgs().RemainingRets().Attrs()); \
  KSEG_XLA_REGISTER("Kseg>" #name, "Host", kseg_xla_##name)

#endif  // KSEG_ADAPTERS_XLA_ADAPTER_H_
