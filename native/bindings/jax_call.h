// One run of an XLA custom call: operands, results and attributes, read by name and checked.
//
// Operands and results come without names and only where they are there. Whatever does not fit is
// an error of XLA's, never a crash.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <new>

#include "checks.h"
#include "conveyor/lstm.h"
#include "xla/ffi/api/c_api.h"

namespace conveyor {

class Call {
 public:
  explicit Call(const XLA_FFI_CallFrame& frame) : frame_(frame) {}

  // The first complaint stands; everything after it reads as null or 0.
  bool failed() const { return message_[0] != 0; }
  void fail(const char* format, ...) {
    if (failed()) return;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(message_, sizeof message_, format, arguments);
    va_end(arguments);
  }

  int64_t attribute(const char* name) {
    const XLA_FFI_Attrs& all = frame_.attrs;
    const int64_t n = find(name);
    if (n >= 0 && all.types[n] == XLA_FFI_AttrType_SCALAR) {
      const auto* scalar = static_cast<const XLA_FFI_Scalar*>(all.attrs[n]);
      if (scalar->dtype == XLA_FFI_DataType_S64) return *static_cast<const int64_t*>(scalar->value);
    }
    fail("attribute %s: no 64 bit integer", name);
    return 0;
  }

  double number(const char* name) {
    const XLA_FFI_Attrs& all = frame_.attrs;
    const int64_t n = find(name);
    if (n >= 0 && all.types[n] == XLA_FFI_AttrType_SCALAR) {
      const auto* scalar = static_cast<const XLA_FFI_Scalar*>(all.attrs[n]);
      if (scalar->dtype == XLA_FFI_DataType_F64) return *static_cast<const double*>(scalar->value);
    }
    fail("attribute %s: no float64", name);
    return 0;
  }

  // How many 64-bit integers the attribute holds; 0 where it is something else.
  size_t length(const char* name) const {
    const XLA_FFI_Array* array = integers_of(name);
    return array ? array->size : 0;
  }

  // Those of one request, where all requests have `count` each.
  void integers(const char* name, size_t request, size_t requests, int64_t* to, size_t count) {
    const XLA_FFI_Array* array = integers_of(name);
    if (array && array->size == requests * count)
      std::memcpy(to, static_cast<const int64_t*>(array->data) + request * count,
                  count * sizeof *to);
    else
      fail("attribute %s: no %d integers of 64 bits", name, static_cast<int>(requests * count));
  }

  const void* operand(const char* name, XLA_FFI_DataType dtype, int64_t count) {
    const XLA_FFI_Args& all = frame_.args;
    if (operands_ >= all.size || all.types[operands_] != XLA_FFI_ArgType_BUFFER) {
      fail("%s: there is no operand %d", name, static_cast<int>(operands_));
      return nullptr;
    }
    return data(name, all.args[operands_++], dtype, count);
  }

  void* result(const char* name, XLA_FFI_DataType dtype, int64_t count) {
    const XLA_FFI_Rets& all = frame_.rets;
    if (results_ >= all.size || all.types[results_] != XLA_FFI_RetType_BUFFER) {
      fail("%s: there is no result %d", name, static_cast<int>(results_));
      return nullptr;
    }
    return data(name, all.rets[results_++], dtype, count);
  }

  XLA_FFI_Error* error(XLA_FFI_Error_Code code, const char* message) const {
    XLA_FFI_Error_Create_Args args{};
    args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
    args.message = message;
    args.errc = code;
    return frame_.api->XLA_FFI_Error_Create(&args);
  }

  // Runs the core, unless something does not fit.
  template <class Run>
  XLA_FFI_Error* finish(Run run) {
    if (operands_ != frame_.args.size || results_ != frame_.rets.size)
      fail("%d operands and %d results too many", static_cast<int>(frame_.args.size - operands_),
           static_cast<int>(frame_.rets.size - results_));
    if (failed()) return error(XLA_FFI_Error_Code_INVALID_ARGUMENT, message_);
    switch (run()) {
      case CONVEYOR_OK: return nullptr;
      case CONVEYOR_OUT_OF_MEMORY:
        return error(XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "conveyor: no memory for the workspace");
      case CONVEYOR_INTERRUPTED:
        return error(XLA_FFI_Error_Code_CANCELLED, "conveyor: interrupted");
      default: return error(XLA_FFI_Error_Code_INVALID_ARGUMENT, conveyor_error());
    }
  }

 private:
  int64_t find(const char* name) const {
    const XLA_FFI_Attrs& all = frame_.attrs;
    for (int64_t n = 0; n < all.size; ++n) {
      const XLA_FFI_ByteSpan& its = *all.names[n];
      if (its.len == std::strlen(name) && std::memcmp(its.ptr, name, its.len) == 0) return n;
    }
    return -1;
  }

  const XLA_FFI_Array* integers_of(const char* name) const {
    const int64_t n = find(name);
    if (n < 0 || frame_.attrs.types[n] != XLA_FFI_AttrType_ARRAY) return nullptr;
    const auto* array = static_cast<const XLA_FFI_Array*>(frame_.attrs.attrs[n]);
    return array->dtype == XLA_FFI_DataType_S64 ? array : nullptr;
  }

  void* data(const char* name, const void* buffer, XLA_FFI_DataType dtype, int64_t count) {
    const auto& b = *static_cast<const XLA_FFI_Buffer*>(buffer);
    int64_t given = 1;
    for (int64_t n = 0; n < b.rank; ++n) given = conveyor::product(given, b.dims[n]);
    if (b.dtype != dtype || given < 0 || given != count) {
      fail("%s: expected %lld elements of XLA type %d, got %lld of type %d", name,
           static_cast<long long>(count), static_cast<int>(dtype), static_cast<long long>(given),
           static_cast<int>(b.dtype));
      return nullptr;
    }
    return b.data;
  }

  const XLA_FFI_CallFrame& frame_;
  int64_t operands_ = 0, results_ = 0;
  char message_[160] = "";
};

// XLA asks once for the version of its interface that a handler was built for.
inline bool asks_for_metadata(const XLA_FFI_CallFrame& frame) {
  for (auto* e = frame.extension_start; e; e = e->next) {
    if (e->type != XLA_FFI_Extension_Metadata) continue;
    XLA_FFI_Metadata& metadata = *reinterpret_cast<XLA_FFI_Metadata_Extension*>(e)->metadata;
    metadata.api_version = {XLA_FFI_Api_Version_STRUCT_SIZE, nullptr, XLA_FFI_API_MAJOR,
                            XLA_FFI_API_MINOR};
    metadata.traits = 0;
    return true;
  }
  return false;
}

inline XLA_FFI_Error* handle(XLA_FFI_CallFrame* frame, XLA_FFI_Error* (*run)(Call&)) {
  if (asks_for_metadata(*frame)) return nullptr;
  Call call(*frame);
  if (frame->struct_size < XLA_FFI_CallFrame_STRUCT_SIZE)
    return call.error(XLA_FFI_Error_Code_FAILED_PRECONDITION,
                      "conveyor: this jaxlib is too old; it needs 0.6 or later");
  try {
    return run(call);
  } catch (const std::bad_alloc&) {
    return call.error(XLA_FFI_Error_Code_RESOURCE_EXHAUSTED, "conveyor: no memory for a call");
  }
}

}  // namespace conveyor
