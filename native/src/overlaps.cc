#include "overlaps.h"

#include <cstdint>
#include <cstdio>

#include "checks.h"

namespace conveyor {
namespace {

const char* const state_names[CONVEYOR_STATES] = {
    "hidden_states", "cell_states",  "hidden_state", "cell_state",
    "input_gates",   "forget_gates", "candidates",   "output_gates"};
const char* const d_state_names[CONVEYOR_STATES] = {
    "d_hidden_states", "d_cell_states",  "d_hidden_state", "d_cell_state",
    "d_input_gates",   "d_forget_gates", "d_candidates",   "d_output_gates"};

// Of the arrays of a request whose sizes were checked: no product here overflows.
struct Bytes {
  explicit Bytes(const conveyor_lstm& l) {
    const int64_t real = real_bytes(l.dtype), gates = 4 * l.units * real;
    mask = l.batch * l.time_steps;
    x = mask * l.features * real;
    kernel = l.features * gates;
    const int64_t hidden = l.projection ? l.projection : l.units, units = l.units * real;
    recurrent_kernel = hidden * gates;
    bias = gates;
    hidden_state = l.batch * hidden * real;
    cell_state = l.batch * l.units * state_bytes(l.dtype);
    dropout_mask = l.dropout_masks * l.batch * l.features * real;
    recurrent_dropout_mask = l.recurrent_dropout_masks * hidden_state;
    peephole = 3 * units;
    hidden_zoneout = mask * hidden;
    cell_zoneout = mask * l.units;
    output_kernel = l.output_transform * l.units * units;
    output_bias = l.output_transform * units;
    projection_kernel = l.projection * units;
    gate_scale = l.layer_norm * gates;
    cell_scale = l.cell_norm * units;
    reserve = conveyor_lstm_reserve_bytes(&l);
    for (int n = 0; n < CONVEYOR_STATES; ++n) {
      const bool final = n == CONVEYOR_HIDDEN_STATE || n == CONVEYOR_CELL_STATE;
      const bool is_hidden = n == CONVEYOR_HIDDEN_STATE || n == CONVEYOR_HIDDEN_STATES;
      const int64_t row = is_hidden ? hidden_state : l.batch * units;
      states[n] = final ? row : l.time_steps * row;
    }
  }
  int64_t x, kernel, recurrent_kernel, bias, hidden_state, cell_state, mask, dropout_mask,
      recurrent_dropout_mask, peephole, hidden_zoneout, cell_zoneout, output_kernel, output_bias,
      projection_kernel, gate_scale, cell_scale, reserve, states[CONVEYOR_STATES];
};

const char* const gru_state_names[CONVEYOR_GRU_STATES] = {
    "hidden_states", "hidden_state", "update_gates", "reset_gates", "candidates"};
const char* const gru_d_state_names[CONVEYOR_GRU_STATES] = {
    "d_hidden_states", "d_hidden_state", "d_update_gates", "d_reset_gates", "d_candidates"};

struct GruBytes {
  explicit GruBytes(const conveyor_gru& g) {
    const int64_t real = real_bytes(g.dtype), gates = 3 * g.units * real;
    mask = g.batch * g.time_steps;
    x = mask * g.features * real;
    kernel = g.features * gates;
    recurrent_kernel = g.units * gates;
    bias = g.reset_after ? 2 * gates : gates;
    hidden_state = g.batch * g.units * real;
    dropout_mask = g.dropout_masks * g.batch * g.features * real;
    recurrent_dropout_mask = g.recurrent_dropout_masks * hidden_state;
    reserve = conveyor_gru_reserve_bytes(g.dtype, g.batch, g.time_steps, g.units);
    for (int n = 0; n < CONVEYOR_GRU_STATES; ++n)
      states[n] = n == CONVEYOR_GRU_HIDDEN_STATE ? hidden_state : g.time_steps * hidden_state;
  }
  int64_t x, kernel, recurrent_kernel, bias, hidden_state, mask, dropout_mask,
      recurrent_dropout_mask, reserve, states[CONVEYOR_GRU_STATES];
};

class Arrays {
 public:
  explicit Arrays(const conveyor_linear& l) {
    const int64_t real = real_bytes(l.dtype);
    read("x", l.x, l.rows * l.features * real);
    read("kernel", l.kernel, l.classes * l.features * real);
    read("bias", l.bias, l.classes * 4);
  }
  Arrays(const conveyor_lstm& l, const Bytes& bytes) {
    read("x", l.x, bytes.x);
    read("kernel", l.kernel, bytes.kernel);
    read("recurrent_kernel", l.recurrent_kernel, bytes.recurrent_kernel);
    read("bias", l.bias, bytes.bias);
    read("the first hidden_state", l.hidden_state, bytes.hidden_state);
    read("the first cell_state", l.cell_state, bytes.cell_state);
    read("mask", l.mask, bytes.mask);
    read("dropout_mask", l.dropout_mask, bytes.dropout_mask);
    read("recurrent_dropout_mask", l.recurrent_dropout_mask, bytes.recurrent_dropout_mask);
    read("resets", l.resets, bytes.mask);
    read("peephole", l.peephole, bytes.peephole);
    read("hidden_zoneout", l.hidden_zoneout, bytes.hidden_zoneout);
    read("cell_zoneout", l.cell_zoneout, bytes.cell_zoneout);
    read("output_kernel", l.output_kernel, bytes.output_kernel);
    read("output_bias", l.output_bias, bytes.output_bias);
    read("projection_kernel", l.projection_kernel, bytes.projection_kernel);
    read("gate_scale", l.gate_scale, bytes.gate_scale);
    read("cell_scale", l.cell_scale, bytes.cell_scale);
    read("cell_shift", l.cell_shift, bytes.cell_scale);
  }

  Arrays(const conveyor_gru& g, const GruBytes& bytes) {
    read("x", g.x, bytes.x);
    read("kernel", g.kernel, bytes.kernel);
    read("recurrent_kernel", g.recurrent_kernel, bytes.recurrent_kernel);
    read("bias", g.bias, bytes.bias);
    read("the first hidden_state", g.hidden_state, bytes.hidden_state);
    read("mask", g.mask, bytes.mask);
    read("dropout_mask", g.dropout_mask, bytes.dropout_mask);
    read("recurrent_dropout_mask", g.recurrent_dropout_mask, bytes.recurrent_dropout_mask);
    read("resets", g.resets, bytes.mask);
  }

  void read(const char* name, const void* at, int64_t bytes) {
    if (at && bytes > 0)
      all_[count_++] = {name, reinterpret_cast<uintptr_t>(at), static_cast<uintptr_t>(bytes)};
  }

  // After all that is read.
  void write(const char* name, void* at, int64_t bytes) {
    const int before = count_;
    read(name, at, bytes);
    for (int n = 0; n < before && count_ > before && !status_; ++n)
      if (overlap(all_[before], all_[n])) status_ = refuse(name, all_[n].name);
  }

  int status() const { return status_; }

 private:
  struct Array {
    const char* name;
    uintptr_t begin, bytes;
  };

  static bool overlap(const Array& a, const Array& b) {
    return a.begin <= b.begin ? b.begin - a.begin < a.bytes : a.begin - b.begin < b.bytes;
  }
  static int refuse(const char* written, const char* other) {
    static thread_local char reason[128];
    std::snprintf(reason, sizeof reason, "%s: overlaps %s", written, other);
    return invalid(reason);
  }

  Array all_[52];
  int count_ = 0, status_ = CONVEYOR_OK;
};

}  // namespace

int check_overlaps(const conveyor_lstm& l, const conveyor_lstm_outputs& out) {
  const Bytes bytes(l);
  Arrays arrays(l, bytes);
  for (int n = 0; n < CONVEYOR_STATES; ++n)
    arrays.write(state_names[n], out.states[n], bytes.states[n]);
  arrays.write("reserve", out.reserve, bytes.reserve);
  return arrays.status();
}

int check_overlaps(const conveyor_lstm& l, const conveyor_lstm_gradients& g) {
  const Bytes bytes(l);
  Arrays arrays(l, bytes);
  arrays.read("hidden_states", g.hidden_states, bytes.states[CONVEYOR_HIDDEN_STATES]);
  arrays.read("reserve", g.reserve, bytes.reserve);
  for (int n = 0; n < CONVEYOR_STATES; ++n)
    arrays.read(d_state_names[n], g.d_states[n], bytes.states[n]);
  arrays.write("d_x", g.d_x, bytes.x);
  arrays.write("d_kernel", g.d_kernel, bytes.kernel);
  arrays.write("d_recurrent_kernel", g.d_recurrent_kernel, bytes.recurrent_kernel);
  arrays.write("d_bias", g.d_bias, bytes.bias);
  arrays.write("d_hidden_state", g.d_hidden_state, bytes.hidden_state);
  arrays.write("d_cell_state", g.d_cell_state, bytes.cell_state);
  arrays.write("d_dropout_mask", g.d_dropout_mask, bytes.dropout_mask);
  arrays.write("d_recurrent_dropout_mask", g.d_recurrent_dropout_mask,
               bytes.recurrent_dropout_mask);
  arrays.write("d_peephole", g.d_peephole, bytes.peephole);
  arrays.write("d_output_kernel", g.d_output_kernel, bytes.output_kernel);
  arrays.write("d_output_bias", g.d_output_bias, bytes.output_bias);
  arrays.write("d_projection_kernel", g.d_projection_kernel, bytes.projection_kernel);
  arrays.write("d_gate_scale", g.d_gate_scale, bytes.gate_scale);
  arrays.write("d_cell_scale", g.d_cell_scale, bytes.cell_scale);
  arrays.write("d_cell_shift", g.d_cell_shift, bytes.cell_scale);
  return arrays.status();
}

int check_overlaps(const conveyor_gru& g, const conveyor_gru_outputs& out) {
  const GruBytes bytes(g);
  Arrays arrays(g, bytes);
  for (int n = 0; n < CONVEYOR_GRU_STATES; ++n)
    arrays.write(gru_state_names[n], out.states[n], bytes.states[n]);
  arrays.write("reserve", out.reserve, bytes.reserve);
  return arrays.status();
}

int check_overlaps(const conveyor_gru& g, const conveyor_gru_gradients& d) {
  const GruBytes bytes(g);
  Arrays arrays(g, bytes);
  arrays.read("hidden_states", d.hidden_states, bytes.states[CONVEYOR_GRU_HIDDEN_STATES]);
  arrays.read("reserve", d.reserve, bytes.reserve);
  for (int n = 0; n < CONVEYOR_GRU_STATES; ++n)
    arrays.read(gru_d_state_names[n], d.d_states[n], bytes.states[n]);
  arrays.write("d_x", d.d_x, bytes.x);
  arrays.write("d_kernel", d.d_kernel, bytes.kernel);
  arrays.write("d_recurrent_kernel", d.d_recurrent_kernel, bytes.recurrent_kernel);
  arrays.write("d_bias", d.d_bias, bytes.bias);
  arrays.write("d_hidden_state", d.d_hidden_state, bytes.hidden_state);
  arrays.write("d_dropout_mask", d.d_dropout_mask, bytes.dropout_mask);
  arrays.write("d_recurrent_dropout_mask", d.d_recurrent_dropout_mask,
               bytes.recurrent_dropout_mask);
  return arrays.status();
}

int check_overlaps(const conveyor_linear& l, const conveyor_cross_entropy& c) {
  const int64_t real = real_bytes(l.dtype);
  Arrays arrays(l);
  arrays.read("labels", c.labels, l.rows * 4);
  arrays.write("losses", c.losses, l.rows * 4);
  arrays.write("cross_entropies", c.cross_entropies, l.rows * 4);
  arrays.write("d_x", c.d_x, l.rows * l.features * real);
  arrays.write("d_kernel", c.d_kernel, l.classes * l.features * real);
  arrays.write("d_bias", c.d_bias, l.classes * 4);
  return arrays.status();
}

int check_overlaps(const conveyor_linear& l, const conveyor_top_k& t) {
  Arrays arrays(l);
  arrays.write("values", t.values, l.rows * t.k * 4);
  arrays.write("indices", t.indices, l.rows * t.k * 4);
  arrays.write("totals", t.totals, l.rows * 4);
  return arrays.status();
}

}  // namespace conveyor
