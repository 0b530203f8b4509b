/* Two ops for TensorFlow: the LSTM forward, and its gradients.
 *
 * `tf.load_op_library` loads this library and wraps what its initialiser registers. Kernels run
 * on TensorFlow's own threads, without Python and its lock, and write into its own memory.
 *
 * arrays: those of conveyor_lstm that there are, in its order; `given` has a bit for each, from
 *   x (1) on. `states` has a bit for each conveyor_state. `lstm` is the beginning of a
 *   conveyor_lstm, up to its addresses; its sizes are those of the arrays. `options` is for who
 *   computes gradients, and is not read here.
 * Conveyor>LstmForward: the states, in the order of conveyor_state; and, with `keep`, what the
 *   backward pass reads: the reserve, and hidden_states where it is no output already.
 * Conveyor>LstmBackward: arrays, hidden_states, reserve, gradients of the states; returns those
 *   of the arrays that `wanted` has a bit for, in their order.
 */
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <new>

#include "api.h"
#include "call.h"
#include "conveyor/lstm.h"
#include "linear.h"

namespace conveyor {
namespace {

bool bit(int64_t bits, int n) { return (bits >> n & 1) != 0; }

const char* state_axes(int state) {
  static const char* const axes[CONVEYOR_STATES] = {"BTH", "BTU", "BH",  "BU",
                                                    "BTU", "BTU", "BTU", "BTU"};
  return axes[state];
}

void forward(void* kernel, TF_OpKernelContext* context) {
  const Options& options = *static_cast<const Options*>(kernel);
  Call call(options, context);
  conveyor_lstm_outputs outputs{};
  outputs.size = sizeof outputs;
  for (int n = 0; n < CONVEYOR_STATES; ++n)
    if (bit(options.states, n)) outputs.states[n] = call.output(state_axes(n), call.real());
  if (options.wanted != 0) {
    outputs.reserve = call.output("R", TF_UINT8);
    if (!bit(options.states, CONVEYOR_HIDDEN_STATES))
      outputs.states[CONVEYOR_HIDDEN_STATES] = call.output("BTH", call.real());
  }
  if (call.ok()) call.finish(conveyor_lstm_forward(&call.lstm(), &outputs));
}

void backward(void* kernel, TF_OpKernelContext* context) {
  const Options& options = *static_cast<const Options*>(kernel);
  Call call(options, context);
  conveyor_lstm_gradients gradients{};
  gradients.size = sizeof gradients;
  gradients.hidden_states = call.input("hidden_states", "BTH", call.real());
  gradients.reserve = call.input("reserve", "R", TF_UINT8);
  for (int n = 0; n < CONVEYOR_STATES; ++n)
    if (bit(options.states, n))
      gradients.d_states[n] = call.input("gradient", state_axes(n), call.real());

  const char* const dropout = call.lstm().dropout_masks == 4 ? "4BF" : "BF";
  const char* const recurrent = call.lstm().recurrent_dropout_masks == 4 ? "4BH" : "BH";
  const char* const gate_scale = call.lstm().layer_norm == CONVEYOR_JOINT ? "2G" : "G";
  struct Wanted {
    int bit;
    void** gradient;
    const char* axes;
    int dtype;
  };
  const Wanted all[] = {
      {0, &gradients.d_x, "BTF", call.real()},
      {1, &gradients.d_kernel, "FG", call.real()},
      {2, &gradients.d_recurrent_kernel, "HG", call.real()},
      {3, &gradients.d_bias, "G", call.real()},
      {4, &gradients.d_hidden_state, "BH", call.real()},
      {5, &gradients.d_cell_state, "BU", call.state()},
      {7, &gradients.d_dropout_mask, dropout, call.real()},
      {8, &gradients.d_recurrent_dropout_mask, recurrent, call.real()},
      {10, &gradients.d_peephole, "P", call.real()},
      {13, &gradients.d_output_kernel, "UU", call.real()},
      {14, &gradients.d_output_bias, "U", call.real()},
      {15, &gradients.d_projection_kernel, "UH", call.real()},
      {16, &gradients.d_gate_scale, gate_scale, call.real()},
      {17, &gradients.d_cell_scale, "U", call.real()},
      {18, &gradients.d_cell_shift, "U", call.real()},
  };
  for (const Wanted& one : all)
    if (bit(options.wanted & options.given, one.bit))
      *one.gradient = call.output(one.axes, one.dtype);
  if (call.ok()) call.finish(conveyor_lstm_backward(&call.lstm(), &gradients));
}

constexpr int kInputs = 19;

void read_lstm(TF_OpKernelConstruction* construction, conveyor_lstm& lstm, TF_Status* status) {
  constexpr size_t kNumbers = offsetof(conveyor_lstm, x) / sizeof(int64_t);
  int64_t numbers[kNumbers] = {};
  int32_t count = 0, total = 0;
  TF_OpKernelConstruction_GetAttrSize(construction, "lstm", &count, &total, status);
  if (TF_GetCode(status) != TF_OK) return;
  if (count == static_cast<int32_t>(kNumbers))
    TF_OpKernelConstruction_GetAttrInt64List(construction, "lstm", numbers, kNumbers, status);
  std::memcpy(&lstm, numbers, sizeof numbers);
  lstm.dropout_masks = lstm.recurrent_dropout_masks = 0;
  lstm.layer_norm = lstm.cell_norm = lstm.output_transform = 0;
  lstm.projection = 0;
  const bool fits = count == static_cast<int32_t>(kNumbers) && lstm.size == sizeof lstm &&
                    lstm.dtype >= 0 && lstm.dtype < 3;
  if (TF_GetCode(status) == TF_OK && !fits)
    TF_SetStatus(status, TF_INVALID_ARGUMENT, "an LSTM of another version of conveyor");
}

void* create(TF_OpKernelConstruction* construction, const char* wanted) {
  TF_Status* status = TF_NewStatus();
  Options* options = new (std::nothrow) Options{};
  if (options == nullptr) TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for a kernel");
  const auto read = [&](const char* name, int64_t Options::*field, int64_t limit) {
    if (TF_GetCode(status) != TF_OK) return;
    TF_OpKernelConstruction_GetAttrInt64(construction, name, &(options->*field), status);
    if (TF_GetCode(status) == TF_OK && (options->*field < 0 || options->*field >= limit))
      TF_SetStatus(status, TF_INVALID_ARGUMENT, "an attribute of an LSTM is out of range");
  };
  if (options != nullptr) read_lstm(construction, options->lstm, status);
  read("given", &Options::given, 1 << kInputs);
  read("states", &Options::states, 1 << CONVEYOR_STATES);
  read(wanted, &Options::wanted, 1 << kInputs);
  if (TF_GetCode(status) != TF_OK) TF_OpKernelConstruction_Failure(construction, status);
  TF_DeleteStatus(status);
  return options;
}

void* create_forward(TF_OpKernelConstruction* c) { return create(c, "keep"); }
void* create_backward(TF_OpKernelConstruction* c) { return create(c, "wanted"); }
void destroy(void* kernel) { delete static_cast<Options*>(kernel); }

// The C API does not show the attributes here, on which shapes depend; Python sets them.
void any_shape(TF_ShapeInferenceContext* context, TF_Status* status) {
  TF_ShapeInferenceContextSetUnknownShape(context, status);
}

void add(const char* name, const char* wanted, Create create_kernel, Compute compute) {
  TF_OpDefinitionBuilder* op = TF_NewOpDefinitionBuilder(name);
  TF_OpDefinitionBuilderAddInput(op, "arrays: array_types");
  TF_OpDefinitionBuilderAddOutput(op, "results: result_types");
  for (const char* attribute :
       {"array_types: list({float, double, bfloat16, bool, uint8})",
        "result_types: list({float, double, bfloat16, uint8}) >= 0", "lstm: list(int)",
        "options: string", "given: int", "states: int", wanted})
    TF_OpDefinitionBuilderAddAttr(op, attribute);
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, any_shape);
  TF_Status* status = TF_NewStatus();
  TF_RegisterOpDefinition(op, status);
  if (TF_GetCode(status) == TF_OK)
    TF_RegisterKernelBuilder(
        name, TF_NewKernelBuilder(name, "CPU", create_kernel, compute, destroy), status);
  // An op that is not there has no Python wrapper either, and that is looked for.
  TF_DeleteStatus(status);
}

const bool registered = [] {
  if (find_tensorflow() != nullptr) return false;
  register_linear();
  add("Conveyor>LstmForward", "keep: int", create_forward, forward);
  add("Conveyor>LstmBackward", "wanted: int", create_backward, backward);
  return true;
}();

}  // namespace
}  // namespace conveyor
