#include "call.h"

#include <cstdint>
#include <cstdio>
#include <cstring>

#include "conveyor/lstm.h"

namespace conveyor {

namespace {

int element_bytes(int dtype) {
  switch (dtype) {
    case TF_DOUBLE: return 8;
    case TF_FLOAT:
    case TF_INT32: return 4;
    case TF_BFLOAT16: return 2;
    default: return 1;
  }
}

const char* dtype_name(int dtype) {
  switch (dtype) {
    case TF_FLOAT: return "float32";
    case TF_DOUBLE: return "float64";
    case TF_BFLOAT16: return "bfloat16";
    case TF_BOOL: return "bool";
    case TF_INT32: return "int32";
    case TF_UINT8: return "uint8";
    default: return "another dtype";
  }
}

// "3, 5, 4"
template <size_t N, class Dim>
void list(char (&text)[N], int count, Dim dim) {
  text[0] = 0;
  size_t end = 0;
  for (int n = 0; n < count && end < N; ++n)
    end += static_cast<size_t>(std::snprintf(text + end, N - end, n ? ", %lld" : "%lld",
                                             static_cast<long long>(dim(n))));
}

}  // namespace

Run::Run(const char* what, TF_OpKernelContext* context, const Run* before)
    : what_(what), context_(context), status_(TF_NewStatus()) {
  if (before == nullptr) return;
  inputs_ = before->inputs_;
  outputs_ = before->outputs_;
}

Run::~Run() {
  for (size_t n = 0; n < holding_; ++n) TF_DeleteTensor(held_[n]);
  TF_DeleteStatus(status_);
}

const void* Run::input(const char* name, const char* axes, int dtype) {
  if (!ok_) return nullptr;
  char message[300];
  TF_Tensor* tensor = nullptr;
  if (inputs_ < TF_NumInputs(context_)) TF_GetInput(context_, inputs_++, &tensor, status_);
  if (tensor == nullptr) {
    std::snprintf(message, sizeof message, "%s expects %s; got nothing", what_, name);
    fail(TF_INVALID_ARGUMENT, message);
    return nullptr;
  }
  held_[holding_++] = tensor;
  const int rank = static_cast<int>(std::strlen(axes));
  bool fits = TF_TensorType(tensor) == dtype && TF_NumDims(tensor) == rank;
  for (int n = 0; fits && n < rank; ++n) fits = TF_Dim(tensor, n) == size(axes[n]);
  if (!fits) {
    char wanted[60], got[60];
    list(wanted, rank, [&](int n) { return size(axes[n]); });
    list(got, TF_NumDims(tensor), [&](int n) { return TF_Dim(tensor, n); });
    std::snprintf(message, sizeof message, "%s expects %s of shape (%s) in %s; got (%s) in %s",
                  what_, name, wanted, dtype_name(dtype), got, dtype_name(TF_TensorType(tensor)));
    fail(TF_INVALID_ARGUMENT, message);
  }
  return TF_TensorData(tensor);
}

void* Run::output(const char* axes, int dtype) {
  if (!ok_) return nullptr;
  int64_t shape[3], bytes = element_bytes(dtype);
  const int rank = static_cast<int>(std::strlen(axes));
  for (int n = 0; n < rank; ++n) {
    shape[n] = size(axes[n]);
    // TensorFlow ends the process where a shape does not fit an address.
    if (shape[n] < 0 || (shape[n] > 0 && bytes > INT64_MAX / shape[n])) {
      fail(TF_RESOURCE_EXHAUSTED, "results do not fit an address");
      return nullptr;
    }
    bytes *= shape[n];
  }
  TF_Tensor* tensor = TF_AllocateOutput(context_, outputs_++, dtype, shape, rank,
                                        static_cast<size_t>(bytes), status_);
  if (tensor == nullptr) {
    fail(TF_RESOURCE_EXHAUSTED, nullptr);
    return nullptr;
  }
  held_[holding_++] = tensor;
  if (TF_GetCode(status_) != TF_OK) fail(TF_RESOURCE_EXHAUSTED, nullptr);
  return TF_TensorData(tensor);
}

void Run::finish(int conveyor_status) {
  switch (conveyor_status) {
    case CONVEYOR_OK: return;
    case CONVEYOR_OUT_OF_MEMORY:
      return fail(TF_RESOURCE_EXHAUSTED, "no memory for the workspace");
    case CONVEYOR_INTERRUPTED: return fail(TF_CANCELLED, "interrupted");
    default: return fail(TF_INVALID_ARGUMENT, conveyor_error());
  }
}

void Run::fail(int code, const char* message) {
  ok_ = false;
  // Where TensorFlow itself said why, that stays.
  if (message != nullptr || TF_GetCode(status_) == TF_OK)
    TF_SetStatus(status_, code, message != nullptr ? message : "TensorFlow gave no array");
  TF_OpKernelContext_Failure(context_, status_);
}

}  // namespace conveyor
