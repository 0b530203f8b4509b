// The core as two XLA custom calls: what `jax.ffi` runs.
//
// The attribute `lstm` is the beginning of a conveyor_lstm, up to its addresses; `inputs`, `states`
// and `gradients` are bit sets that say which operands and results there are, in the order of the
// header.
#include <cstddef>

#include "conveyor/lstm.h"
#include "jax_call.h"

namespace {

using conveyor::Call;
using conveyor::handle;

// What forward and backward are both told: the attributes, and the operands that come first.
struct Request {
  conveyor_lstm lstm{};
  XLA_FFI_DataType real = XLA_FFI_DataType_F32, state = XLA_FFI_DataType_F32;

  explicit Request(Call& call) {
    constexpr size_t kNumbers = offsetof(conveyor_lstm, x) / sizeof(int64_t);
    int64_t numbers[kNumbers] = {};
    call.integers("lstm", numbers, kNumbers);
    std::memcpy(&lstm, numbers, sizeof numbers);
    lstm.interrupted = nullptr;  // XLA calls without the interpreter's lock
    switch (lstm.dtype) {
      case CONVEYOR_FLOAT32: break;
      case CONVEYOR_FLOAT64: real = state = XLA_FFI_DataType_F64; break;
      case CONVEYOR_BFLOAT16: real = XLA_FFI_DataType_BF16; break;
      default: call.fail("dtype: unknown");
    }
    inputs_ = call.attribute("inputs");
    lstm.x = input(call, 0);
    lstm.kernel = input(call, 1);
    lstm.recurrent_kernel = input(call, 2);
    lstm.bias = input(call, 3);
    lstm.hidden_state = input(call, 4);
    lstm.cell_state = input(call, 5);
    lstm.mask = static_cast<const uint8_t*>(input(call, 6));
    lstm.dropout_mask = input(call, 7);
    lstm.recurrent_dropout_mask = input(call, 8);
    lstm.resets = static_cast<const uint8_t*>(input(call, 9));
    lstm.peephole = input(call, 10);
    lstm.hidden_zoneout = static_cast<const uint8_t*>(input(call, 11));
    lstm.cell_zoneout = static_cast<const uint8_t*>(input(call, 12));
    lstm.output_kernel = input(call, 13);
    lstm.output_bias = input(call, 14);
    lstm.projection_kernel = input(call, 15);
    lstm.gate_scale = input(call, 16);
    lstm.cell_scale = input(call, 17);
    lstm.cell_shift = input(call, 18);
  }

  struct Array {
    const char* name;
    XLA_FFI_DataType dtype;
    int64_t count;
  };

  // The inputs in the order of the header, and so their gradients, as far as they have one.
  Array array(int n) const {
    using conveyor::product;
    const auto& l = lstm;
    const int64_t hidden = hidden_size();
    switch (n) {
      case 0: return {"x", real, product(l.batch, l.time_steps, l.features)};
      case 1: return {"kernel", real, product(l.features, 4, l.units)};
      case 2: return {"recurrent_kernel", real, product(hidden, 4, l.units)};
      case 3: return {"bias", real, product(4, l.units)};
      case 4: return {"hidden_state", real, product(l.batch, hidden)};
      case 5: return {"cell_state", state, product(l.batch, l.units)};
      case 6: return {"mask", XLA_FFI_DataType_PRED, product(l.batch, l.time_steps)};
      case 7: return {"dropout_mask", real, product(l.dropout_masks, l.batch, l.features)};
      case 8:
        return {"recurrent_dropout_mask", real,
                product(l.recurrent_dropout_masks, l.batch, hidden)};
      case 9: return {"resets", XLA_FFI_DataType_U8, product(l.batch, l.time_steps)};
      case 10: return {"peephole", real, product(3, l.units)};
      case 11:
        return {"hidden_zoneout", XLA_FFI_DataType_PRED, product(l.batch, l.time_steps, hidden)};
      case 12:
        return {"cell_zoneout", XLA_FFI_DataType_PRED, product(l.batch, l.time_steps, l.units)};
      case 13: return {"output_kernel", real, product(l.units, l.units)};
      case 14: return {"output_bias", real, l.units};
      case 15: return {"projection_kernel", real, product(l.units, hidden)};
      case 16: return {"gate_scale", real, product(l.layer_norm, 4, l.units)};
      case 17: return {"cell_scale", real, l.units};
      default: return {"cell_shift", real, l.units};
    }
  }

  int64_t hidden_size() const { return lstm.projection ? lstm.projection : lstm.units; }

  // The eight states, in the order of the header.
  Array state_array(int n) const {
    static const char* const names[CONVEYOR_STATES] = {
        "hidden_states", "cell_states",  "hidden_state", "cell_state",
        "input_gates",   "forget_gates", "candidates",   "output_gates"};
    const bool final = n == CONVEYOR_HIDDEN_STATE || n == CONVEYOR_CELL_STATE;
    const int64_t steps = final ? 1 : lstm.time_steps;
    const bool hidden = n == CONVEYOR_HIDDEN_STATE || n == CONVEYOR_HIDDEN_STATES;
    return {names[n], real,
            conveyor::product(lstm.batch, steps, hidden ? hidden_size() : lstm.units)};
  }

  int64_t reserve_bytes() const {
    return conveyor_lstm_reserve_bytes(&lstm);
  }

 private:
  const void* input(Call& call, int n) const {
    if (!(inputs_ >> n & 1)) return nullptr;
    const Array a = array(n);
    return call.operand(a.name, a.dtype, a.count);
  }

  int64_t inputs_ = 0;
};

XLA_FFI_Error* forward(Call& call) {
  const Request request(call);
  conveyor_lstm_outputs out{};
  out.size = sizeof out;
  const int64_t states = call.attribute("states");
  for (int n = 0; n < CONVEYOR_STATES; ++n) {
    if (!(states >> n & 1)) continue;
    const auto a = request.state_array(n);
    out.states[n] = call.result(a.name, a.dtype, a.count);
  }
  if (call.attribute("reserve"))
    out.reserve = call.result("reserve", XLA_FFI_DataType_U8, request.reserve_bytes());
  return call.finish([&] { return conveyor_lstm_forward(&request.lstm, &out); });
}

XLA_FFI_Error* backward(Call& call) {
  const Request request(call);
  conveyor_lstm_gradients g{};
  g.size = sizeof g;
  const auto hidden_states = request.state_array(CONVEYOR_HIDDEN_STATES);
  g.hidden_states = call.operand("hidden_states", hidden_states.dtype, hidden_states.count);
  g.reserve = call.operand("reserve", XLA_FFI_DataType_U8, request.reserve_bytes());
  const int64_t states = call.attribute("states");
  for (int n = 0; n < CONVEYOR_STATES; ++n) {
    if (!(states >> n & 1)) continue;
    const auto a = request.state_array(n);
    g.d_states[n] = call.operand(a.name, a.dtype, a.count);
  }
  void** const gradients[] = {&g.d_x,
                              &g.d_kernel,
                              &g.d_recurrent_kernel,
                              &g.d_bias,
                              &g.d_hidden_state,
                              &g.d_cell_state,
                              nullptr,  // the mask has none
                              &g.d_dropout_mask,
                              &g.d_recurrent_dropout_mask,
                              nullptr,  // resets
                              &g.d_peephole,
                              nullptr,  // which units keep their states
                              nullptr,
                              &g.d_output_kernel,
                              &g.d_output_bias,
                              &g.d_projection_kernel,
                              &g.d_gate_scale,
                              &g.d_cell_scale,
                              &g.d_cell_shift};
  const int64_t wanted = call.attribute("gradients");
  for (int n = 0; n < 19; ++n) {
    if (!gradients[n] || !(wanted >> n & 1)) continue;
    const auto a = request.array(n);
    *gradients[n] = call.result(a.name, a.dtype, a.count);
  }
  return call.finish([&] { return conveyor_lstm_backward(&request.lstm, &g); });
}

}  // namespace

extern "C" {

CONVEYOR_API XLA_FFI_Error* conveyor_jax_forward(XLA_FFI_CallFrame* frame) {
  return handle(frame, forward);
}

CONVEYOR_API XLA_FFI_Error* conveyor_jax_backward(XLA_FFI_CallFrame* frame) {
  return handle(frame, backward);
}
}
