// The recurrent cells of the core as XLA custom calls: what `jax.ffi` runs.
//
// One call runs several requests, such as two directions or the layers of a stack: operands and
// results of the first, then those of the second. Each attribute is an array with a piece for each
// request: `problem` is the beginning of the struct of a cell, up to its addresses; `inputs`,
// `states` and `gradients` are bit sets that say which operands and results there are, in the order
// of the header. A request that is `chained` reads a result of the one before: forward its
// hidden_states as x, backward its d_x as the gradient of hidden_states.
#include <algorithm>
#include <cstddef>
#include <vector>

#include "cells.h"
#include "jax_call.h"

namespace {

using conveyor::Call;
using conveyor::CellArray;
using conveyor::Element;
using conveyor::Gru;
using conveyor::Lstm;
using conveyor::handle;

// How many requests there are; 1 where that is not said, which reading them will find.
size_t requests_of(const Call& call) { return std::max<size_t>(call.length("inputs"), 1); }

// What forward and backward are both told: the attributes, and the operands that come first.
template <class Cell>
struct Request {
  typename Cell::Struct cell{};

  // `below` is what a forward request reads that is chained.
  Request(Call& call, size_t number, const void* below = nullptr) : number_(number) {
    constexpr size_t kNumbers = offsetof(typename Cell::Struct, x) / sizeof(int64_t);
    int64_t numbers[kNumbers] = {};
    call.integers("problem", number, requests_of(call), numbers, kNumbers);
    std::memcpy(static_cast<void*>(&cell), numbers, sizeof numbers);
    cell.interrupted = nullptr;  // XLA calls without the interpreter's lock
    if (cell.dtype < CONVEYOR_FLOAT32 || cell.dtype > CONVEYOR_BFLOAT16) call.fail("dtype: unknown");
    const int64_t given = attribute(call, "inputs");
    const void* inputs[Cell::kInputs] = {};
    for (int n = 0; n < Cell::kInputs; ++n)
      if (given >> n & 1) inputs[n] = operand(call, Cell::input(cell, n), n);
    if (below) inputs[0] = below;  // of the right size: the core looks
    conveyor::set_inputs<Cell>(cell, inputs);
  }

  int64_t attribute(Call& call, const char* name) const {
    int64_t value = 0;
    call.integers(name, number_, requests_of(call), &value, 1);
    return value;
  }
  const void* operand(Call& call, const CellArray& a, int input = 0) const {
    return call.operand(a.name, dtype(a), count(a, input));
  }
  void* result(Call& call, const CellArray& a, int input = 0) const {
    return call.result(a.name, dtype(a), count(a, input));
  }
  int64_t reserve_bytes() const { return Cell::reserve_bytes(cell); }

 private:
  XLA_FFI_DataType dtype(const CellArray& a) const {
    if (a.element == Element::kBool) return XLA_FFI_DataType_PRED;
    if (a.element == Element::kByte) return XLA_FFI_DataType_U8;
    if (cell.dtype == CONVEYOR_FLOAT64) return XLA_FFI_DataType_F64;
    const bool wide = cell.dtype == CONVEYOR_FLOAT32 || a.element == Element::kState;
    return wide ? XLA_FFI_DataType_F32 : XLA_FFI_DataType_BF16;
  }
  int64_t count(const CellArray& a, int input) const {
    int64_t all = 1;
    for (const char* axis = a.axes; *axis; ++axis)
      all = conveyor::product(all, conveyor::axis_size<Cell>(cell, input, *axis));
    return all;
  }

  const size_t number_;
};

// What a chained request reads of the one before; null for any other.
template <class Cell, class Results>
const void* handed_on(Call& call, size_t number, const std::vector<Results>& results) {
  int64_t chained = 0;
  call.integers("chained", number, requests_of(call), &chained, 1);
  if (!chained) return nullptr;
  const void* const found = number > 0 ? Cell::handed_on(results[number - 1]) : nullptr;
  if (!found) call.fail("chained: the request before returns nothing for this one to read");
  return found;
}

template <class Cell>
XLA_FFI_Error* forward(Call& call) {
  const size_t count = requests_of(call);
  std::vector<typename Cell::Struct> cells(count);
  std::vector<typename Cell::Outputs> outputs(count);
  for (size_t k = 0; k < count; ++k) {
    const Request<Cell> request(call, k, handed_on<Cell>(call, k, outputs));
    cells[k] = request.cell;
    typename Cell::Outputs& out = outputs[k];
    out.size = sizeof out;
    const int64_t states = request.attribute(call, "states");
    for (int n = 0; n < Cell::kStates; ++n)
      if (states >> n & 1) out.states[n] = request.result(call, Cell::state(n));
    if (request.attribute(call, "reserve"))
      out.reserve = call.result("reserve", XLA_FFI_DataType_U8, request.reserve_bytes());
  }
  return call.finish([&] { return conveyor::forward<Cell>(cells, outputs); });
}

template <class Cell>
XLA_FFI_Error* backward(Call& call) {
  const size_t count = requests_of(call);
  std::vector<typename Cell::Struct> cells(count);
  std::vector<typename Cell::Gradients> gradients(count);
  for (size_t k = 0; k < count; ++k) {
    const Request<Cell> request(call, k);
    cells[k] = request.cell;
    typename Cell::Gradients& g = gradients[k];
    g.size = sizeof g;
    g.hidden_states = request.operand(call, Cell::state(CONVEYOR_HIDDEN_STATES));
    g.reserve = call.operand("reserve", XLA_FFI_DataType_U8, request.reserve_bytes());
    const int64_t states = request.attribute(call, "states");
    for (int n = 0; n < Cell::kStates; ++n)
      if (states >> n & 1) g.d_states[n] = request.operand(call, Cell::state(n));
    if (const void* d = handed_on<Cell>(call, k, gradients)) g.d_states[CONVEYOR_HIDDEN_STATES] = d;
    const int64_t wanted = request.attribute(call, "gradients");
    for (int n = 0; n < Cell::kInputs; ++n) {
      void** const gradient = Cell::gradient(g, n);
      if (gradient && (wanted >> n & 1))
        *gradient = request.result(call, Cell::input(request.cell, n), n);
    }
  }
  return call.finish([&] { return conveyor::backward<Cell>(cells, gradients); });
}

}  // namespace

extern "C" {

CONVEYOR_API XLA_FFI_Error* conveyor_jax_forward(XLA_FFI_CallFrame* frame) {
  return handle(frame, forward<Lstm>);
}

CONVEYOR_API XLA_FFI_Error* conveyor_jax_backward(XLA_FFI_CallFrame* frame) {
  return handle(frame, backward<Lstm>);
}

CONVEYOR_API XLA_FFI_Error* conveyor_jax_gru_forward(XLA_FFI_CallFrame* frame) {
  return handle(frame, forward<Gru>);
}

CONVEYOR_API XLA_FFI_Error* conveyor_jax_gru_backward(XLA_FFI_CallFrame* frame) {
  return handle(frame, backward<Gru>);
}
}
