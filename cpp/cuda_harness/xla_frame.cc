// Calls XLA's handlers without XLA: fills in a call frame as XLA would, with memory that stands for a GPU's. So the
// CUDA handlers run where the CUDA kernels do, on the CPU (base/cuda/host), in the tests of every machine.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/cuda/context.h"
#include "xla/ffi/api/c_api.h"

struct XLA_FFI_Error {
  XLA_FFI_Error_Code code;
  std::string message;
};

struct XLA_FFI_ExecutionContext {
  unsigned char poison;  // what undefined memory holds
};

extern "C" {

// As in benchmarks/cuda/xla_frame.py; types are XLA's numbers.
struct KsegXlaArray {
  void* data;
  int64_t type;
  int64_t rank;
  int64_t shape[8];
};

// A scalar or a list of `size` elements of a type, or a text of `size` bytes.
struct KsegXlaAttribute {
  const char* name;
  void* data;
  int64_t kind;  // XLA_FFI_AttrType
  int64_t type;
  int64_t size;
};
}

namespace {

// -- what a handler asks of XLA
// ----------------------------------------------------------------------------------------

XLA_FFI_Error* create_error(XLA_FFI_Error_Create_Args* args) { return new XLA_FFI_Error{args->errc, args->message}; }
void get_message(XLA_FFI_Error_GetMessage_Args* args) { args->message = args->error->message.c_str(); }
void destroy_error(XLA_FFI_Error_Destroy_Args* args) { delete args->error; }

XLA_FFI_Error* get_stream(XLA_FFI_Stream_Get_Args* args) {
  args->stream = nullptr;
  return nullptr;
}

// As little as XLA promises: no more alignment than kMostAlignment, and a request for more is an error.
constexpr size_t kMostAlignment = 16;

XLA_FFI_Error* allocate(XLA_FFI_DeviceMemory_Allocate_Args* args) {
  if (args->alignment > kMostAlignment) {
    return new XLA_FFI_Error{XLA_FFI_Error_Code_INVALID_ARGUMENT, "Unsupported alignment"};
  }
  const size_t page = kseg::Scratch::kAlignment;
  void* const base = std::aligned_alloc(page, (kMostAlignment + args->size + page - 1) / page * page);
  if (base == nullptr) return new XLA_FFI_Error{XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "no memory is left"};
  args->data = static_cast<char*>(base) + kMostAlignment;
  std::memset(args->data, args->ctx->poison, args->size);
  return nullptr;
}
XLA_FFI_Error* release(XLA_FFI_DeviceMemory_Free_Args* args) {
  std::free(static_cast<char*>(args->data) - kMostAlignment);
  return nullptr;
}

XLA_FFI_Error* schedule(XLA_FFI_ThreadPool_Schedule_Args* args) {
  args->task(args->data);
  return nullptr;
}
XLA_FFI_Error* count_threads(XLA_FFI_ThreadPool_NumThreads_Args* args) {
  *args->num_threads = 1;
  return nullptr;
}

XLA_FFI_Api make_api() {
  XLA_FFI_Api api = {};
  api.struct_size = XLA_FFI_Api_STRUCT_SIZE;
  api.api_version.struct_size = XLA_FFI_Api_Version_STRUCT_SIZE;
  api.api_version.major_version = XLA_FFI_API_MAJOR;
  api.api_version.minor_version = XLA_FFI_API_MINOR;
  api.XLA_FFI_Error_Create = create_error;
  api.XLA_FFI_Error_GetMessage = get_message;
  api.XLA_FFI_Error_Destroy = destroy_error;
  api.XLA_FFI_Stream_Get = get_stream;
  api.XLA_FFI_DeviceMemory_Allocate = allocate;
  api.XLA_FFI_DeviceMemory_Free = release;
  api.XLA_FFI_ThreadPool_Schedule = schedule;
  api.XLA_FFI_ThreadPool_NumThreads = count_threads;
  return api;
}

// -- what XLA hands to a handler
// ---------------------------------------------------------------------------------------

// Buffers, and XLA's two lists of them.
template <class Type>
struct Buffers {
  Buffers(const KsegXlaArray* arrays, int64_t count, Type type) : types(count, type) {
    for (int64_t i = 0; i < count; ++i) {
      XLA_FFI_Buffer buffer = {};
      buffer.struct_size = XLA_FFI_Buffer_STRUCT_SIZE;
      buffer.dtype = static_cast<XLA_FFI_DataType>(arrays[i].type);
      buffer.data = arrays[i].data;
      buffer.rank = arrays[i].rank;
      buffer.dims = const_cast<int64_t*>(arrays[i].shape);
      buffers.push_back(buffer);
    }
    for (XLA_FFI_Buffer& buffer : buffers) pointers.push_back(&buffer);
  }

  std::vector<XLA_FFI_Buffer> buffers;
  std::vector<Type> types;
  std::vector<void*> pointers;
};

// Attributes, sorted by name as handlers expect them.
struct Attributes {
  Attributes(const KsegXlaAttribute* given, int64_t count) : sorted(given, given + count) {
    std::sort(sorted.begin(), sorted.end(),
              [](const auto& one, const auto& other) { return std::strcmp(one.name, other.name) < 0; });
    for (const KsegXlaAttribute& one : sorted) {
      const auto type = static_cast<XLA_FFI_DataType>(one.type);
      const auto size = static_cast<size_t>(one.size);
      names.push_back({one.name, std::strlen(one.name)});
      scalars.push_back({type, one.data});
      arrays.push_back({type, size, one.data});
      texts.push_back({static_cast<const char*>(one.data), size});
      types.push_back(static_cast<XLA_FFI_AttrType>(one.kind));
    }
    for (size_t i = 0; i < sorted.size(); ++i) {
      name_pointers.push_back(&names[i]);
      switch (types[i]) {
        case XLA_FFI_AttrType_SCALAR:
          pointers.push_back(&scalars[i]);
          break;
        case XLA_FFI_AttrType_ARRAY:
          pointers.push_back(&arrays[i]);
          break;
        default:
          pointers.push_back(&texts[i]);
      }
    }
  }

  std::vector<KsegXlaAttribute> sorted;
  std::vector<XLA_FFI_ByteSpan> names, texts;
  std::vector<XLA_FFI_Scalar> scalars;
  std::vector<XLA_FFI_Array> arrays;
  std::vector<XLA_FFI_AttrType> types;
  std::vector<XLA_FFI_ByteSpan*> name_pointers;
  std::vector<void*> pointers;
};

}  // namespace

// Calls a handler on inputs and, after them, results. Returns XLA's code of the error, 0 for none; `*message` lives
// until the thread's next call.
extern "C" __attribute__((visibility("default"))) int64_t
kseg_call_handler(XLA_FFI_Handler* handler, const KsegXlaArray* arrays, int64_t input_count, int64_t result_count,
                  const KsegXlaAttribute* attributes, int64_t attribute_count, int64_t poison, const char** message) {
  static const XLA_FFI_Api api = make_api();
  thread_local std::string kept;
  Buffers<XLA_FFI_ArgType> inputs(arrays, input_count, XLA_FFI_ArgType_BUFFER);
  Buffers<XLA_FFI_RetType> results(arrays + input_count, result_count, XLA_FFI_RetType_BUFFER);
  Attributes named(attributes, attribute_count);
  XLA_FFI_ExecutionContext context{static_cast<unsigned char>(poison)};

  XLA_FFI_CallFrame frame = {};
  frame.struct_size = XLA_FFI_CallFrame_STRUCT_SIZE;
  frame.api = &api;
  frame.ctx = &context;
  frame.stage = XLA_FFI_ExecutionStage_EXECUTE;
  frame.args.struct_size = XLA_FFI_Args_STRUCT_SIZE;
  frame.args.size = input_count;
  frame.args.types = inputs.types.data();
  frame.args.args = inputs.pointers.data();
  frame.rets.struct_size = XLA_FFI_Rets_STRUCT_SIZE;
  frame.rets.size = result_count;
  frame.rets.types = results.types.data();
  frame.rets.rets = results.pointers.data();
  frame.attrs.struct_size = XLA_FFI_Attrs_STRUCT_SIZE;
  frame.attrs.size = attribute_count;
  frame.attrs.types = named.types.data();
  frame.attrs.names = named.name_pointers.data();
  frame.attrs.attrs = named.pointers.data();

  const std::unique_ptr<XLA_FFI_Error> error(handler(&frame));
  kept = error ? error->message : "";
  *message = kept.c_str();
  return error ? error->code : XLA_FFI_Error_Code_OK;
}
