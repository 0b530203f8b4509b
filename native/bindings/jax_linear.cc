// The output layer with its cross entropy, or with its largest logits, as XLA custom calls.
#include "conveyor/linear.h"
#include "jax_call.h"

namespace {

using conveyor::Call;
using conveyor::handle;
using conveyor::product;

struct Request {
  conveyor_linear linear{};
  XLA_FFI_DataType real = XLA_FFI_DataType_F32;

  explicit Request(Call& call) {
    linear.size = sizeof linear;
    linear.dtype = static_cast<int32_t>(call.attribute("dtype"));
    linear.rows = call.attribute("rows");
    linear.features = call.attribute("features");
    linear.classes = call.attribute("classes");
    linear.interrupted = nullptr;  // XLA calls without the interpreter's lock
    if (linear.dtype == CONVEYOR_BFLOAT16) real = XLA_FFI_DataType_BF16;
    linear.x = call.operand("features", real, product(linear.rows, linear.features));
    linear.kernel = call.operand("kernel", real, product(linear.classes, linear.features));
    has_bias = call.attribute("bias") != 0;
    if (has_bias)
      linear.bias = static_cast<const float*>(
          call.operand("bias", XLA_FFI_DataType_F32, linear.classes));
  }
  bool has_bias = false;
};

float* floats(Call& call, const char* name, int64_t count) {
  return static_cast<float*>(call.result(name, XLA_FFI_DataType_F32, count));
}

XLA_FFI_Error* cross_entropy(Call& call) {
  const Request request(call);
  const conveyor_linear& l = request.linear;
  conveyor_cross_entropy c{};
  c.size = sizeof c;
  c.labels = static_cast<const int32_t*>(call.operand("labels", XLA_FFI_DataType_S32, l.rows));
  c.ignored = static_cast<int32_t>(call.attribute("ignored"));
  c.label_smoothing = static_cast<float>(call.number("label_smoothing"));
  c.losses = floats(call, "losses", l.rows);
  c.cross_entropies = floats(call, "cross_entropies", l.rows);
  if (call.attribute("gradients")) {
    c.d_x = call.result("d_features", request.real, product(l.rows, l.features));
    c.d_kernel = call.result("d_kernel", request.real, product(l.classes, l.features));
    if (request.has_bias) c.d_bias = floats(call, "d_bias", l.classes);
  }
  return call.finish([&] { return conveyor_linear_cross_entropy(&l, &c); });
}

XLA_FFI_Error* top_k(Call& call) {
  const Request request(call);
  const conveyor_linear& l = request.linear;
  conveyor_top_k t{};
  t.size = sizeof t;
  t.k = call.attribute("k");
  t.values = floats(call, "values", product(l.rows, t.k));
  t.indices = static_cast<int32_t*>(
      call.result("indices", XLA_FFI_DataType_S32, product(l.rows, t.k)));
  t.totals = floats(call, "totals", l.rows);
  return call.finish([&] { return conveyor_linear_top_k(&l, &t); });
}

}  // namespace

extern "C" {

CONVEYOR_API XLA_FFI_Error* conveyor_jax_cross_entropy(XLA_FFI_CallFrame* frame) {
  return handle(frame, cross_entropy);
}

CONVEYOR_API XLA_FFI_Error* conveyor_jax_top_k(XLA_FFI_CallFrame* frame) {
  return handle(frame, top_k);
}
}
