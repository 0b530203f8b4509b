// The recurrent cells of the core as the operators of frameworks see them: arrays in the order of
// the headers, each with its axes and its elements.
//
// Axes: B T F U H; G the gates side by side, N one array for each of them or none such axis, P for
// 3U.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "conveyor/gru.h"
#include "conveyor/lstm.h"

namespace conveyor {

enum class Element { kReal, kState, kBool, kByte };

struct CellArray {
  const char* name;
  const char* axes;
  Element element;
};

struct Lstm {
  using Struct = conveyor_lstm;
  using Outputs = conveyor_lstm_outputs;
  using Gradients = conveyor_lstm_gradients;
  static constexpr auto forward = conveyor_lstm_forward_together;
  static constexpr auto backward = conveyor_lstm_backward_together;
  static constexpr const char* kWhat = "an LSTM";
  static constexpr int kGates = 4, kInputs = 19, kStates = CONVEYOR_STATES;
  static constexpr int kDropoutMask = 7, kRecurrentDropoutMask = 8;
  static constexpr int kOutputKernel = 13, kProjectionKernel = 15, kGateScale = 16, kCellScale = 17;

  static int64_t reserve_bytes(const Struct& lstm) { return conveyor_lstm_reserve_bytes(&lstm); }
  static int64_t hidden(const Struct& lstm) {
    return lstm.projection ? lstm.projection : lstm.units;
  }

  // What the next request of a stack reads: the layer above, and backward the layer below.
  static void* handed_on(const Outputs& below) { return below.states[CONVEYOR_HIDDEN_STATES]; }
  static void* handed_on(const Gradients& above) { return above.d_x; }

  // For operators that are told no sizes: what there is for them in the arrays that are given.
  static void find_hidden(Struct& lstm, int64_t given, int64_t hidden) {
    lstm.projection = given >> kProjectionKernel & 1 ? hidden : 0;
    lstm.output_transform = given >> kOutputKernel & 1;
    lstm.cell_norm = given >> kCellScale & 1;
    lstm.layer_norm = CONVEYOR_NO_NORM;
  }
  static void find_more(Struct& lstm, int n, int axes) {
    if (n == kGateScale) lstm.layer_norm = axes == 2 ? CONVEYOR_JOINT : CONVEYOR_GATES;
  }

  static CellArray input(const Struct& lstm, int n) {
    static constexpr CellArray all[kInputs] = {
        {"x", "BTF", Element::kReal},
        {"kernel", "FG", Element::kReal},
        {"recurrent_kernel", "HG", Element::kReal},
        {"bias", "G", Element::kReal},
        {"hidden_state", "BH", Element::kReal},
        {"cell_state", "BU", Element::kState},
        {"mask", "BT", Element::kBool},
        {"dropout_mask", "NBF", Element::kReal},
        {"recurrent_dropout_mask", "NBH", Element::kReal},
        {"resets", "BT", Element::kByte},
        {"peephole", "P", Element::kReal},
        {"hidden_zoneout", "BTH", Element::kBool},
        {"cell_zoneout", "BTU", Element::kBool},
        {"output_kernel", "UU", Element::kReal},
        {"output_bias", "U", Element::kReal},
        {"projection_kernel", "UH", Element::kReal},
        {"gate_scale", "G", Element::kReal},
        {"cell_scale", "U", Element::kReal},
        {"cell_shift", "U", Element::kReal},
    };
    if (n == kGateScale && lstm.layer_norm == CONVEYOR_JOINT)
      return {"gate_scale", "2G", Element::kReal};
    return all[n];
  }
  static CellArray state(int n) {
    static constexpr CellArray all[kStates] = {
        {"hidden_states", "BTH", Element::kReal}, {"cell_states", "BTU", Element::kReal},
        {"hidden_state", "BH", Element::kReal},   {"cell_state", "BU", Element::kReal},
        {"input_gates", "BTU", Element::kReal},   {"forget_gates", "BTU", Element::kReal},
        {"candidates", "BTU", Element::kReal},    {"output_gates", "BTU", Element::kReal},
    };
    return all[n];
  }
  // Null where an input has none.
  static void** gradient(Gradients& g, int n) {
    void** const all[kInputs] = {&g.d_x, &g.d_kernel, &g.d_recurrent_kernel, &g.d_bias,
                                 &g.d_hidden_state, &g.d_cell_state, nullptr, &g.d_dropout_mask,
                                 &g.d_recurrent_dropout_mask, nullptr, &g.d_peephole, nullptr,
                                 nullptr, &g.d_output_kernel, &g.d_output_bias,
                                 &g.d_projection_kernel, &g.d_gate_scale, &g.d_cell_scale,
                                 &g.d_cell_shift};
    return all[n];
  }
};

struct Gru {
  using Struct = conveyor_gru;
  using Outputs = conveyor_gru_outputs;
  using Gradients = conveyor_gru_gradients;
  static int forward(const Struct* const* grus, const Outputs* const* outputs, int32_t count) {
    return one_by_one(conveyor_gru_forward, grus, outputs, count);
  }
  static int backward(const Struct* const* grus, const Gradients* const* gradients, int32_t count) {
    return one_by_one(conveyor_gru_backward, grus, gradients, count);
  }
  static constexpr const char* kWhat = "a GRU";
  static constexpr int kGates = 3, kInputs = 9, kStates = CONVEYOR_GRU_STATES;
  static constexpr int kDropoutMask = 6, kRecurrentDropoutMask = 7;

  static int64_t reserve_bytes(const Struct& gru) {
    return conveyor_gru_reserve_bytes(gru.dtype, gru.batch, gru.time_steps, gru.units);
  }
  static int64_t hidden(const Struct& gru) { return gru.units; }
  static void* handed_on(const Outputs&) { return nullptr; }  // the core runs no stacks of GRUs
  static void* handed_on(const Gradients&) { return nullptr; }
  static void find_hidden(Struct&, int64_t, int64_t) {}
  static void find_more(Struct&, int, int) {}

  static CellArray input(const Struct& gru, int n) {
    static constexpr CellArray all[kInputs] = {
        {"x", "BTF", Element::kReal},
        {"kernel", "FG", Element::kReal},
        {"recurrent_kernel", "UG", Element::kReal},
        {"bias", "2G", Element::kReal},
        {"hidden_state", "BU", Element::kReal},
        {"mask", "BT", Element::kBool},
        {"dropout_mask", "NBF", Element::kReal},
        {"recurrent_dropout_mask", "NBU", Element::kReal},
        {"resets", "BT", Element::kByte},
    };
    if (n == 3 && !gru.reset_after) return {"bias", "G", Element::kReal};
    return all[n];
  }
  static CellArray state(int n) {
    static constexpr CellArray all[kStates] = {
        {"hidden_states", "BTU", Element::kReal}, {"hidden_state", "BU", Element::kReal},
        {"update_gates", "BTU", Element::kReal},  {"reset_gates", "BTU", Element::kReal},
        {"candidates", "BTU", Element::kReal},
    };
    return all[n];
  }
  static void** gradient(Gradients& g, int n) {
    void** const all[kInputs] = {&g.d_x, &g.d_kernel, &g.d_recurrent_kernel, &g.d_bias,
                                 &g.d_hidden_state, nullptr, &g.d_dropout_mask,
                                 &g.d_recurrent_dropout_mask};
    return all[n];
  }

 private:
  template <class Results>
  static int one_by_one(int (*run)(const Struct*, const Results*), const Struct* const* grus,
                        const Results* const* results, int32_t count) {
    int status = CONVEYOR_OK;
    for (int32_t k = 0; k < count && status == CONVEYOR_OK; ++k) status = run(grus[k], results[k]);
    return status;
  }
};

// Of an axis; -1 where it does not fit.
template <class Cell>
int64_t axis_size(const typename Cell::Struct& cell, int input, char axis) {
  const auto times = [&](int64_t n) {
    return cell.units > std::numeric_limits<int64_t>::max() / n ? -1 : n * cell.units;
  };
  switch (axis) {
    case 'B': return cell.batch;
    case 'T': return cell.time_steps;
    case 'F': return cell.features;
    case 'U': return cell.units;
    case 'H': return Cell::hidden(cell);
    case 'G': return times(Cell::kGates);
    case 'P': return times(3);
    case 'N':
      return input == Cell::kDropoutMask ? cell.dropout_masks : cell.recurrent_dropout_masks;
    default: return axis - '0';
  }
}

// Puts the addresses of all inputs, null for those that there are not, into the struct.
template <class Cell>
void set_inputs(typename Cell::Struct& cell, const void* const (&inputs)[Cell::kInputs]) {
  using Struct = typename Cell::Struct;
  constexpr size_t first = offsetof(Struct, x);
  static_assert(offsetof(Struct, interrupted) == first + sizeof inputs, "all inputs, in order");
  const void** const fields =
      reinterpret_cast<const void**>(reinterpret_cast<char*>(&cell) + first);
  for (int n = 0; n < Cell::kInputs; ++n) fields[n] = inputs[n];
}

// Runs all requests in one call of the core.
template <class Struct, class Results>
int run_all(int (*run)(const Struct* const*, const Results* const*, int32_t),
            const std::vector<Struct>& cells, const std::vector<Results>& results) {
  std::vector<const Struct*> its_cells;
  std::vector<const Results*> its_results;
  for (const Struct& cell : cells) its_cells.push_back(&cell);
  for (const Results& one : results) its_results.push_back(&one);
  return run(its_cells.data(), its_results.data(), static_cast<int32_t>(cells.size()));
}

template <class Cell>
int forward(const std::vector<typename Cell::Struct>& cells,
            const std::vector<typename Cell::Outputs>& outputs) {
  return run_all(Cell::forward, cells, outputs);
}

template <class Cell>
int backward(const std::vector<typename Cell::Struct>& cells,
             const std::vector<typename Cell::Gradients>& gradients) {
  return run_all(Cell::backward, cells, gradients);
}

}  // namespace conveyor
