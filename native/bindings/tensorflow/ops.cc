/* Two ops for TensorFlow of each recurrent cell: forward, and its gradients.
 *
 * `tf.load_op_library` loads this library and wraps what its initialiser registers. Kernels run
 * on TensorFlow's own threads, without Python and its lock, and write into its own memory.
 *
 * An op runs several requests, such as two directions or the layers of a stack, in one call of the
 * core: inputs and outputs of the first, then those of the second. Each attribute but the types is
 * a list with a piece for each request. A request that is `chained` reads an output of the one
 * before: forward its hidden_states as x, backward its d_x as the gradient of hidden_states.
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
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "api.h"
#include "call.h"
#include "../cells.h"
#include "linear.h"

namespace conveyor {
namespace {

bool bit(int64_t bits, int n) { return (bits >> n & 1) != 0; }

// What the attributes of an op say of one request.
template <class Cell>
struct Options {
  typename Cell::Struct cell;  // without addresses and sizes
  int64_t given;   // bits: which inputs there are
  int64_t states;  // bits: the states it returns, or whose gradients arrive
  int64_t wanted;  // forward: whether to keep what the backward pass reads; backward: bits
  bool chained;
};

// Axes as in cells.h, and R for bytes of reserve.
template <class Cell>
class Call : public Run {
 public:
  // `below` is what a forward request reads that is chained.
  Call(const Options<Cell>& options, TF_OpKernelContext* context, const Call* before,
       const void* below)
      : Run(Cell::kWhat, context, before), cell_(options.cell) {
    find_sizes(options.given, below == nullptr ? nullptr : before);
    const void* inputs[Cell::kInputs] = {below};
    for (int n = below == nullptr ? 0 : 1; n < Cell::kInputs; ++n) {
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
  void refuse(const char* message) { fail(TF_INVALID_ARGUMENT, message); }
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

  // Sizes are those of x, or of the request below, and of the recurrent kernel; all else must
  // agree with them, because the core believes what it is told.
  void find_sizes(int64_t given, const Call* below) {
    TF_Tensor* first[3] = {};
    const int missing = below == nullptr ? 0 : 1;
    for (int n = missing; n < 3 && ok_; ++n) {
      // TensorFlow ends the process where it is asked for more than there are.
      const int place = inputs_ + n - missing;
      if (place < TF_NumInputs(context_)) TF_GetInput(context_, place, &first[n], status_);
      if (first[n] == nullptr) fail(TF_INVALID_ARGUMENT, nullptr);
    }
    if (ok_ && TF_NumDims(first[2]) == 2 && (below != nullptr || TF_NumDims(first[0]) == 3)) {
      const auto x = [&](int axis) { return TF_Dim(first[0], axis); };
      cell_.batch = below != nullptr ? below->cell_.batch : x(0);
      cell_.time_steps = below != nullptr ? below->cell_.time_steps : x(1);
      cell_.features = below != nullptr ? Cell::hidden(below->cell_) : x(2);
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
typename Cell::Outputs outputs_of(Call<Cell>& call, const Options<Cell>& options, const void*) {
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
  return outputs;
}

template <class Cell>
typename Cell::Gradients gradients_of(Call<Cell>& call, const Options<Cell>& options,
                                      const void* above) {
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
  if (above != nullptr) gradients.d_states[CONVEYOR_HIDDEN_STATES] = above;
  for (int n = 0; n < Cell::kInputs; ++n) {
    void** const gradient = Cell::gradient(gradients, n);
    if (gradient == nullptr || !bit(options.wanted & options.given, n)) continue;
    const CellArray a = call.array(n);
    *gradient = call.output(a.axes, call.dtype(a));
  }
  return gradients;
}

// Every request of an op, in one call of the core; nothing runs where one does not fit.
template <class Cell, class Results>
void run(const std::vector<Options<Cell>>& every, TF_OpKernelContext* context,
         Results (*results_of)(Call<Cell>&, const Options<Cell>&, const void*),
         int (*core)(const std::vector<typename Cell::Struct>&, const std::vector<Results>&)) {
  std::vector<std::unique_ptr<Call<Cell>>> calls;
  std::vector<typename Cell::Struct> cells;
  std::vector<Results> results;
  for (const Options<Cell>& options : every) {
    const Call<Cell>* before = calls.empty() ? nullptr : calls.back().get();
    const void* const read = options.chained ? Cell::handed_on(results.back()) : nullptr;
    const bool forward = std::is_same_v<Results, typename Cell::Outputs>;
    calls.push_back(
        std::make_unique<Call<Cell>>(options, context, before, forward ? read : nullptr));
    Call<Cell>& call = *calls.back();
    if (options.chained && read == nullptr) call.refuse("chained, and nothing is there to read");
    results.push_back(results_of(call, options, read));
    cells.push_back(call.cell());
    if (!call.ok()) return;
  }
  calls.back()->finish(core(cells, results));
}

template <class Cell, class... Functions>
void compute(void* kernel, TF_OpKernelContext* context, Functions... functions) {
  try {
    run(*static_cast<const std::vector<Options<Cell>>*>(kernel), context, functions...);
  } catch (const std::bad_alloc&) {
    TF_Status* status = TF_NewStatus();
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for a call");
    TF_OpKernelContext_Failure(context, status);
    TF_DeleteStatus(status);
  }
}

template <class Cell>
void compute_forward(void* kernel, TF_OpKernelContext* context) {
  compute<Cell>(kernel, context, outputs_of<Cell>, forward<Cell>);
}

template <class Cell>
void compute_backward(void* kernel, TF_OpKernelContext* context) {
  compute<Cell>(kernel, context, gradients_of<Cell>, backward<Cell>);
}

// The integers of an attribute; none where there are others.
std::vector<int64_t> integers(TF_OpKernelConstruction* construction, const char* name,
                              TF_Status* status) {
  int32_t count = 0, total = 0;
  if (TF_GetCode(status) == TF_OK)
    TF_OpKernelConstruction_GetAttrSize(construction, name, &count, &total, status);
  if (TF_GetCode(status) != TF_OK) return {};
  std::vector<int64_t> found(count > 0 ? static_cast<size_t>(count) : 0);
  TF_OpKernelConstruction_GetAttrInt64List(construction, name, found.data(), count, status);
  return found;
}

template <class Cell>
void read(TF_OpKernelConstruction* construction, const char* wanted_name,
          std::vector<Options<Cell>>& all, TF_Status* status) {
  constexpr size_t kNumbers = offsetof(typename Cell::Struct, x) / sizeof(int64_t);
  const auto problems = integers(construction, "problem", status);
  const auto given = integers(construction, "given", status);
  const auto states = integers(construction, "states", status);
  const auto wanted = integers(construction, wanted_name, status);
  const auto chained = integers(construction, "chained", status);
  if (TF_GetCode(status) != TF_OK) return;
  const size_t count = given.size();
  bool fits = count > 0 && states.size() == count && wanted.size() == count &&
              chained.size() == count && chained[0] == 0 && problems.size() == count * kNumbers;
  for (size_t k = 0; fits && k < count; ++k) {
    Options<Cell> one{};
    std::memcpy(static_cast<void*>(&one.cell), &problems[k * kNumbers],
                kNumbers * sizeof problems[0]);
    one.cell.dropout_masks = one.cell.recurrent_dropout_masks = 0;
    one.given = given[k];
    one.states = states[k];
    one.wanted = wanted[k];
    one.chained = chained[k] != 0;
    fits = one.cell.size == sizeof one.cell && one.cell.dtype >= 0 && one.cell.dtype < 3;
    for (const auto& [value, bits] : {std::pair<int64_t, int>{one.given, Cell::kInputs},
                                      {one.states, Cell::kStates},
                                      {one.wanted, Cell::kInputs}})
      fits = fits && value >= 0 && value < int64_t{1} << bits;
    all.push_back(one);
  }
  if (!fits) TF_SetStatus(status, TF_INVALID_ARGUMENT, "an op of another version of conveyor");
}

template <class Cell>
void* create(TF_OpKernelConstruction* construction, const char* wanted) {
  TF_Status* status = TF_NewStatus();
  std::unique_ptr<std::vector<Options<Cell>>> all;
  try {
    all = std::make_unique<std::vector<Options<Cell>>>();
    read<Cell>(construction, wanted, *all, status);
  } catch (const std::bad_alloc&) {
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for a kernel");
  }
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return all.release();
}

template <class Cell>
void* create_forward(TF_OpKernelConstruction* c) { return create<Cell>(c, "keep"); }
template <class Cell>
void* create_backward(TF_OpKernelConstruction* c) { return create<Cell>(c, "wanted"); }
template <class Cell>
void destroy(void* kernel) { delete static_cast<std::vector<Options<Cell>>*>(kernel); }

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
        "options: list(string)", "given: list(int)", "states: list(int)", "chained: list(int)", wanted})
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
  add(forward_name, "keep: list(int)", create_forward<Cell>, compute_forward<Cell>, destroy<Cell>);
  add(backward_name, "wanted: list(int)", create_backward<Cell>, compute_backward<Cell>,
      destroy<Cell>);
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
