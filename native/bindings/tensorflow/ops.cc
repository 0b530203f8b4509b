/* Two ops for TensorFlow of each recurrent cell: forward, and its gradients.
 *
 * `tf.load_op_library` loads this library and wraps what its initialiser registers. Kernels run
 * on TensorFlow's own threads, without Python and its lock, and write into its own memory.
 *
 * arrays: those of the struct of the cell that there are, in its order; `given` has a bit for each,
 *   from x (1) on. `states` has a bit for each state. `problem` is the beginning of the struct, up to
 *   its addresses; its sizes are those of the arrays. `options` is for who computes gradients, and
 *   is not read here.
 * Conveyor>LstmForward, GruForward: the states, in their order; and, with `keep`, what the backward
 *   pass reads: the reserve, and hidden_states where it is no output already.
 * Conveyor>LstmBackward, GruBackward: arrays, hidden_states, reserve, gradients of the states;
 *   returns those of the arrays that `wanted` has a bit for, in their order.
 */
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <new>

#include "api.h"
#include "call.h"
#include "../cells.h"
#include "linear.h"

namespace conveyor {
namespace {

bool bit(int64_t bits, int n) { return (bits >> n & 1) != 0; }

// The attributes of an op.
template <class Cell>
struct Options {
  typename Cell::Struct cell;  // without addresses and sizes
  int64_t given;   // bits: which inputs there are
  int64_t states;  // bits: the states it returns, or whose gradients arrive
  int64_t wanted;  // forward: whether to keep what the backward pass reads; backward: bits
};

// Axes as in cells.h, and R for bytes of reserve.
template <class Cell>
class Call : public Run {
 public:
  Call(const Options<Cell>& options, TF_OpKernelContext* context)
      : Run(Cell::kWhat, context), cell_(options.cell) {
    find_sizes(options.given);
    const void* inputs[Cell::kInputs] = {};
    for (int n = 0; n < Cell::kInputs; ++n) {
      if (n > 2 && !bit(options.given, n)) continue;
      const int axes = next_axes(), masks = axes == 3 ? Cell::kGates : 1;
      if (n == Cell::kDropoutMask) cell_.dropout_masks = masks;
      if (n == Cell::kRecurrentDropoutMask) cell_.recurrent_dropout_masks = masks;
      Cell::find_more(cell_, n, axes);
      const CellArray a = array(n);
      inputs[n] = input(a.name, a.axes, dtype(a));
    }
    set_inputs<Cell>(cell_, inputs);
  }

  const typename Cell::Struct& cell() const { return cell_; }
  // Of an input, as it is here; its gradient is alike.
  CellArray array(int n) const {
    CellArray a = Cell::input(cell_, n);
    const int masks =
        n == Cell::kDropoutMask ? cell_.dropout_masks : cell_.recurrent_dropout_masks;
    if (a.axes[0] == 'N' && masks == 1) ++a.axes;
    return a;
  }
  int dtype(const CellArray& a) const {
    if (a.element == Element::kBool) return TF_BOOL;
    if (a.element == Element::kByte) return TF_UINT8;
    if (cell_.dtype == CONVEYOR_FLOAT64) return TF_DOUBLE;
    const bool wide = cell_.dtype == CONVEYOR_FLOAT32 || a.element == Element::kState;
    return wide ? TF_FLOAT : TF_BFLOAT16;
  }

 private:
  int64_t size(char axis) const override {
    if (axis == 'R') return Cell::reserve_bytes(cell_);
    return axis == 'N' ? Cell::kGates : axis_size<Cell>(cell_, 0, axis);
  }

  // Sizes are those of x and of the recurrent kernel; all else must agree with them, because
  // the core believes what it is told.
  void find_sizes(int64_t given) {
    TF_Tensor* first[3] = {};
    for (int n = 0; n < 3 && ok_; ++n) {
      TF_GetInput(context_, n, &first[n], status_);
      if (TF_GetCode(status_) != TF_OK) fail(TF_INVALID_ARGUMENT, nullptr);
    }
    if (ok_ && TF_NumDims(first[0]) == 3 && TF_NumDims(first[2]) == 2) {
      cell_.batch = TF_Dim(first[0], 0);
      cell_.time_steps = TF_Dim(first[0], 1);
      cell_.features = TF_Dim(first[0], 2);
      cell_.units = TF_Dim(first[2], 1) / Cell::kGates;
      Cell::find_hidden(cell_, given, TF_Dim(first[2], 0));
    }
    for (TF_Tensor* tensor : first)
      if (tensor != nullptr) TF_DeleteTensor(tensor);
  }

  // How many the next input has.
  int next_axes() {
    TF_Tensor* tensor = nullptr;
    if (ok_ && inputs_ < TF_NumInputs(context_)) TF_GetInput(context_, inputs_, &tensor, status_);
    const int axes = tensor != nullptr ? TF_NumDims(tensor) : 0;
    if (tensor != nullptr) TF_DeleteTensor(tensor);
    return axes;
  }

  typename Cell::Struct cell_;
};

template <class Cell>
void forward(void* kernel, TF_OpKernelContext* context) {
  const auto& options = *static_cast<const Options<Cell>*>(kernel);
  Call<Cell> call(options, context);
  typename Cell::Outputs outputs{};
  outputs.size = sizeof outputs;
  const auto state = [&](int n) {
    const CellArray a = Cell::state(n);
    outputs.states[n] = call.output(a.axes, call.dtype(a));
  };
  for (int n = 0; n < Cell::kStates; ++n)
    if (bit(options.states, n)) state(n);
  if (options.wanted != 0) {
    outputs.reserve = call.output("R", TF_UINT8);
    if (!bit(options.states, CONVEYOR_HIDDEN_STATES)) state(CONVEYOR_HIDDEN_STATES);
  }
  if (call.ok()) call.finish(Cell::forward(&call.cell(), &outputs));
}

template <class Cell>
void backward(void* kernel, TF_OpKernelContext* context) {
  const auto& options = *static_cast<const Options<Cell>*>(kernel);
  Call<Cell> call(options, context);
  typename Cell::Gradients gradients{};
  gradients.size = sizeof gradients;
  const CellArray hidden_states = Cell::state(CONVEYOR_HIDDEN_STATES);
  gradients.hidden_states =
      call.input(hidden_states.name, hidden_states.axes, call.dtype(hidden_states));
  gradients.reserve = call.input("reserve", "R", TF_UINT8);
  for (int n = 0; n < Cell::kStates; ++n) {
    if (!bit(options.states, n)) continue;
    const CellArray a = Cell::state(n);
    gradients.d_states[n] = call.input("gradient", a.axes, call.dtype(a));
  }
  for (int n = 0; n < Cell::kInputs; ++n) {
    void** const gradient = Cell::gradient(gradients, n);
    if (gradient == nullptr || !bit(options.wanted & options.given, n)) continue;
    const CellArray a = call.array(n);
    *gradient = call.output(a.axes, call.dtype(a));
  }
  if (call.ok()) call.finish(Cell::backward(&call.cell(), &gradients));
}

template <class Cell>
void read_cell(TF_OpKernelConstruction* construction, typename Cell::Struct& cell,
               TF_Status* status) {
  constexpr size_t kNumbers = offsetof(typename Cell::Struct, x) / sizeof(int64_t);
  int64_t numbers[kNumbers] = {};
  int32_t count = 0, total = 0;
  TF_OpKernelConstruction_GetAttrSize(construction, "problem", &count, &total, status);
  if (TF_GetCode(status) != TF_OK) return;
  if (count == static_cast<int32_t>(kNumbers))
    TF_OpKernelConstruction_GetAttrInt64List(construction, "problem", numbers, kNumbers, status);
  std::memcpy(static_cast<void*>(&cell), numbers, sizeof numbers);
  cell.dropout_masks = cell.recurrent_dropout_masks = 0;
  const bool fits = count == static_cast<int32_t>(kNumbers) && cell.size == sizeof cell &&
                    cell.dtype >= 0 && cell.dtype < 3;
  if (TF_GetCode(status) == TF_OK && !fits)
    TF_SetStatus(status, TF_INVALID_ARGUMENT, "an op of another version of conveyor");
}

template <class Cell>
void* create(TF_OpKernelConstruction* construction, const char* wanted) {
  TF_Status* status = TF_NewStatus();
  auto* options = new (std::nothrow) Options<Cell>{};
  if (options == nullptr) TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for a kernel");
  const auto read = [&](const char* name, int64_t Options<Cell>::*field, int64_t limit) {
    if (TF_GetCode(status) != TF_OK) return;
    TF_OpKernelConstruction_GetAttrInt64(construction, name, &(options->*field), status);
    if (TF_GetCode(status) == TF_OK && (options->*field < 0 || options->*field >= limit))
      TF_SetStatus(status, TF_INVALID_ARGUMENT, "an attribute of an op is out of range");
  };
  if (options != nullptr) read_cell<Cell>(construction, options->cell, status);
  read("given", &Options<Cell>::given, 1 << Cell::kInputs);
  read("states", &Options<Cell>::states, 1 << Cell::kStates);
  read(wanted, &Options<Cell>::wanted, 1 << Cell::kInputs);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return options;
}

template <class Cell>
void* create_forward(TF_OpKernelConstruction* c) { return create<Cell>(c, "keep"); }
template <class Cell>
void* create_backward(TF_OpKernelConstruction* c) { return create<Cell>(c, "wanted"); }
template <class Cell>
void destroy(void* kernel) { delete static_cast<Options<Cell>*>(kernel); }

// The C API does not show the attributes here, on which shapes depend; Python sets them.
void any_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

void add(const char* name, const char* wanted, Create create_kernel, Compute compute,
         Delete destroy_kernel) {
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddInput(op, "arrays: array_types");
  TF_OpDefinitionBuilderAddOutput(op, "results: result_types");
  for (const char* attribute :
       {"array_types: list({float, double, bfloat16, bool, uint8})",
        "result_types: list({float, double, bfloat16, uint8}) >= 0", "problem: list(int)",
        "options: string", "given: int", "states: int", wanted})
    TF_OpDefinitionBuilderAddAttr(op, attribute);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, any_shape);
  TF_Status* status = TF_NewStatus();
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == TF_OK)
    TF_RegisterKernelBuilder(
        name, TF_NewKernelBuilder(name, "CPU", create_kernel, compute, destroy_kernel), status);
  // An op that is not there has no Python wrapper either, and that is looked for.
  TF_DeleteStatus(status);
}

template <class Cell>
void add(const char* forward_name, const char* backward_name) {
  add(forward_name, "keep: int", create_forward<Cell>, forward<Cell>, destroy<Cell>);
  add(backward_name, "wanted: int", create_backward<Cell>, backward<Cell>, destroy<Cell>);
}

const bool registered = [] {
  if (find_tensorflow() != nullptr) return false;
  register_linear();
  add<Lstm>("Conveyor>LstmForward", "Conveyor>LstmBackward");
  add<Gru>("Conveyor>GruForward", "Conveyor>GruBackward");
  return true;
}();

}  // namespace
}  // namespace conveyor
