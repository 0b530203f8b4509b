#include "call.h"

#include <cstdio>
#include <cstring>

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

Run::Run(const char* what, TF_OpKernelContext* context)
    : what_(what), context_(context), status_(TF_NewStatus()) {}

Run::~Run() {
  for (size_t n = 0; n < holding_; ++n) TF_DeleteTensor(held_[n]);
  TF_DeleteStatus(status_);
}

Call::Call(const Options& options, TF_OpKernelContext* context) : Run("an LSTM", context) {
  static constexpr int types[] = {TF_FLOAT, TF_DOUBLE, TF_BFLOAT16};
  lstm_ = options.lstm;
  real_ = types[lstm_.dtype];
  read_arrays(options);
}

int64_t Call::size(char axis) const {
  switch (axis) {
    case 'B': return lstm_.batch;
    case 'T': return lstm_.time_steps;
    case 'F': return lstm_.features;
    case 'U': return lstm_.units;
    case 'H': return lstm_.projection ? lstm_.projection : lstm_.units;
    case 'G': return 4 * lstm_.units;
    case 'P': return 3 * lstm_.units;
    case '2': return 2;
    case 'R': return conveyor_lstm_reserve_bytes(&lstm_);
    default: return 4;
  }
}

void Call::read_arrays(const Options& options) {
  // Sizes are those of x and of the recurrent kernel; all else must agree with them, because
  // the core believes what it is told.
  TF_Tensor* first[3] = {};
  for (int n = 0; n < 3 && ok_; ++n) {
    TF_GetInput(context_, n, &first[n], status_);
    if (TF_GetCode(status_) != TF_OK) fail(TF_INVALID_ARGUMENT, nullptr);
  }
  if (ok_ && TF_NumDims(first[0]) == 3 && TF_NumDims(first[2]) == 2) {
    lstm_.batch = TF_Dim(first[0], 0);
    lstm_.time_steps = TF_Dim(first[0], 1);
    lstm_.features = TF_Dim(first[0], 2);
    lstm_.units = TF_Dim(first[2], 1) / 4;
    // The projection is an array that there is; its width is that of the hidden state.
    if (options.given >> 15 & 1) lstm_.projection = TF_Dim(first[2], 0);
  }
  for (TF_Tensor* tensor : first)
    if (tensor != nullptr) TF_DeleteTensor(tensor);

  const auto given = [&](int bit) { return (options.given >> bit & 1) != 0; };
  const auto dropout = [&](const char* name, const char* axes, int32_t* masks) {
    TF_Tensor* tensor = nullptr;
    if (ok_) TF_GetInput(context_, inputs_, &tensor, status_);
    const bool per_gate = tensor != nullptr && TF_NumDims(tensor) == 3;
    if (tensor != nullptr) TF_DeleteTensor(tensor);
    *masks = per_gate ? 4 : 1;
    return input(name, per_gate ? axes : axes + 1, real_);
  };
  lstm_.x = input("x", "BTF", real_);
  lstm_.kernel = input("kernel", "FG", real_);
  lstm_.recurrent_kernel = input("recurrent_kernel", "HG", real_);
  if (given(3)) lstm_.bias = input("bias", "G", real_);
  if (given(4)) lstm_.hidden_state = input("hidden_state", "BH", real_);
  if (given(5)) lstm_.cell_state = input("cell_state", "BU", state());
  if (given(6)) lstm_.mask = static_cast<const uint8_t*>(input("mask", "BT", TF_BOOL));
  if (given(7)) lstm_.dropout_mask = dropout("dropout_mask", "4BF", &lstm_.dropout_masks);
  if (given(8))
    lstm_.recurrent_dropout_mask =
        dropout("recurrent_dropout_mask", "4BH", &lstm_.recurrent_dropout_masks);
  if (given(9)) lstm_.resets = static_cast<const uint8_t*>(input("resets", "BT", TF_UINT8));
  if (given(10)) lstm_.peephole = input("peephole", "P", real_);
  if (given(11))
    lstm_.hidden_zoneout = static_cast<const uint8_t*>(input("hidden_zoneout", "BTH", TF_BOOL));
  if (given(12))
    lstm_.cell_zoneout = static_cast<const uint8_t*>(input("cell_zoneout", "BTU", TF_BOOL));
  lstm_.output_transform = given(13);
  lstm_.cell_norm = given(17);
  if (given(13)) lstm_.output_kernel = input("output_kernel", "UU", real_);
  if (given(14)) lstm_.output_bias = input("output_bias", "U", real_);
  if (given(15)) lstm_.projection_kernel = input("projection_kernel", "UH", real_);
  if (given(16)) {
    TF_Tensor* tensor = nullptr;
    if (ok_) TF_GetInput(context_, inputs_, &tensor, status_);
    const bool joint = tensor != nullptr && TF_NumDims(tensor) == 2;
    if (tensor != nullptr) TF_DeleteTensor(tensor);
    lstm_.layer_norm = joint ? CONVEYOR_JOINT : CONVEYOR_GATES;
    lstm_.gate_scale = input("gate_scale", joint ? "2G" : "G", real_);
  }
  if (given(17)) lstm_.cell_scale = input("cell_scale", "U", real_);
  if (given(18)) lstm_.cell_shift = input("cell_shift", "U", real_);
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
