// The outcome of a kernel call. Kernels never throw for bad input and never abort: they say what was wrong. All that
// they may throw is std::bad_alloc.
#ifndef KSEG_BASE_STATUS_H_
#define KSEG_BASE_STATUS_H_

#include <sstream>
#include <string>
#include <utility>

namespace kseg {

// kInternal: a device or the code itself has failed; no argument is to blame.
enum class StatusCode { kOk, kInvalidArgument, kOutOfMemory, kInternal };

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

template <class... Parts>
Status make_status(StatusCode code, const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return Status(code, text.str());
}

// invalid_argument("boxes must be finite, got ", value) joins its parts as a stream would.
template <class... Parts>
Status invalid_argument(const Parts&... parts) {
  return make_status(StatusCode::kInvalidArgument, parts...);
}
template <class... Parts>
Status internal_error(const Parts&... parts) {
  return make_status(StatusCode::kInternal, parts...);
}

}  // namespace kseg

#define KSEG_RETURN_IF_ERROR(expression)       \
  do {                                         \
    ::kseg::Status kseg_status = (expression); \
    if (!kseg_status.ok()) return kseg_status; \
  } while (false)

#endif  // KSEG_BASE_STATUS_H_
