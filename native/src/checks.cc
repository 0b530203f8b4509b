#include "checks.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "overlaps.h"
#include "stages.h"

namespace conveyor {
namespace {

thread_local const char* error = "";

bool is_activation(int32_t n) { return n >= CONVEYOR_TANH && n < CONVEYOR_ACTIVATIONS; }

bool is_part(double part) { return part >= 0 && part <= 1; }

bool is_flag(int32_t n) { return n == 0 || n == 1; }

bool is_masks(int32_t n) { return n == 0 || n == 1 || n == 4; }

// The largest array of a request, in bytes, with room for the workspace of a few of them.
bool fits(const conveyor_lstm& l) {
  const int64_t wide = 8 * 16;  // the widest element, times padding
  // An empty axis must not hide that another is too long.
  return product(std::max<int64_t>(l.batch, 1), l.time_steps, std::max<int64_t>(l.features, 1),
                 wide) >= 0 &&
         product(l.features, l.units, 4, wide) >= 0 && product(l.units, l.units, 4, wide) >= 0 &&
         product(l.projection, l.units, 4, wide) >= 0 &&
         product(4, l.batch, l.projection, wide) >= 0 &&
         product(std::max<int64_t>(l.batch, 1), l.time_steps, l.projection, wide) >= 0 &&
         product(4, l.batch, l.features, wide) >= 0 &&
         conveyor_lstm_reserve_bytes(&l) >= 0 &&
         product(4, l.batch, l.units, wide) >= 0;
}

}  // namespace

int64_t real_bytes(int32_t dtype) {
  return dtype == CONVEYOR_FLOAT64 ? 8 : dtype == CONVEYOR_FLOAT32 ? 4 : 2;
}

int64_t state_bytes(int32_t dtype) { return dtype == CONVEYOR_FLOAT64 ? 8 : 4; }

int64_t product(int64_t a, int64_t b) {
  if (a < 0 || b < 0) return -1;
  if (b != 0 && a > std::numeric_limits<int64_t>::max() / b) return -1;
  return a * b;
}

int invalid(const char* reason) {
  error = reason;
  return CONVEYOR_INVALID;
}

void no_error() { error = ""; }

int check(const conveyor_lstm* l) {
  no_error();
  if (!l || l->size != sizeof(conveyor_lstm)) return invalid("lstm: size of another version");
  if (l->dtype < CONVEYOR_FLOAT32 || l->dtype > CONVEYOR_BFLOAT16) return invalid("dtype: unknown");
  if (!is_activation(l->activation)) return invalid("activation: unknown");
  if (!is_activation(l->recurrent_activation)) return invalid("recurrent_activation: unknown");
  if (!is_activation(l->output_activation)) return invalid("output_activation: unknown");
  // Written so that NaN is refused.
  if (!(l->clip >= 0) || !(l->cell_clip >= 0)) return invalid("clip, cell_clip: negative");
  if (!is_part(l->hidden_part) || !is_part(l->cell_part))
    return invalid("hidden_part, cell_part: not between 0 and 1");
  if (!is_masks(l->dropout_masks) || !is_masks(l->recurrent_dropout_masks))
    return invalid("dropout_masks, recurrent_dropout_masks: 0, 1 or 4");
  if (l->layer_norm < CONVEYOR_NO_NORM || l->layer_norm > CONVEYOR_JOINT)
    return invalid("layer_norm: unknown");
  if (!is_flag(l->cell_norm) || !is_flag(l->output_transform))
    return invalid("cell_norm, output_transform: 0 or 1");
  if (l->threads < 0) return invalid("threads: negative");
  if (l->batch < 0 || l->time_steps < 0 || l->features < 0 || l->units < 1)
    return invalid("batch, time_steps, features, units: negative, or no units");
  if (l->projection < 0) return invalid("projection: negative");
  if (!fits(*l)) return invalid("batch, time_steps, features, units: too large for an address");
  if (l->batch > std::numeric_limits<int32_t>::max()) return invalid("batch: over 2147483647");
  if (!l->kernel && l->features > 0) return invalid("kernel: null");
  if (!l->recurrent_kernel) return invalid("recurrent_kernel: null");
  if (l->layer_norm && !l->gate_scale) return invalid("gate_scale: null");
  if (l->cell_norm && (!l->cell_scale || !l->cell_shift))
    return invalid("cell_scale, cell_shift: null");
  if (l->output_transform && (!l->output_kernel || !l->output_bias))
    return invalid("output_kernel, output_bias: null");
  if (l->projection && !l->projection_kernel) return invalid("projection_kernel: null");
  return CONVEYOR_OK;
}

static int check_run(const conveyor_lstm* l) {
  if (const int status = check(l)) return status;
  const bool any = l->batch > 0 && l->time_steps > 0;
  if (!l->x && any && l->features > 0) return invalid("x: null");
  if (l->dropout_masks && !l->dropout_mask && l->batch > 0 && l->features > 0)
    return invalid("dropout_mask: null");
  if (l->recurrent_dropout_masks && !l->recurrent_dropout_mask && l->batch > 0)
    return invalid("recurrent_dropout_mask: null");
  return CONVEYOR_OK;
}

int check(const conveyor_lstm* l, const conveyor_lstm_outputs* out) {
  if (const int status = check_run(l)) return status;
  if (!out || out->size != sizeof(conveyor_lstm_outputs))
    return invalid("outputs: size of another version");
  return check_overlaps(*l, *out);
}

int check(const conveyor_lstm* l, const conveyor_lstm_gradients* g) {
  if (const int status = check_run(l)) return status;
  if (!g || g->size != sizeof(conveyor_lstm_gradients))
    return invalid("gradients: size of another version");
  const bool any = l->batch > 0 && l->time_steps > 0;
  if (any && (!g->hidden_states || !g->reserve)) return invalid("hidden_states, reserve: null");
  if (g->d_dropout_mask && !l->dropout_masks) return invalid("d_dropout_mask: no dropout_mask");
  if (g->d_recurrent_dropout_mask && !l->recurrent_dropout_masks)
    return invalid("d_recurrent_dropout_mask: no recurrent_dropout_mask");
  if (g->d_peephole && !l->peephole) return invalid("d_peephole: no peephole");
  if (g->d_gate_scale && !l->layer_norm) return invalid("d_gate_scale: no layer_norm");
  if ((g->d_cell_scale || g->d_cell_shift) && !l->cell_norm)
    return invalid("d_cell_scale, d_cell_shift: no cell_norm");
  if ((g->d_output_kernel || g->d_output_bias) && !l->output_transform)
    return invalid("d_output_kernel, d_output_bias: no output_transform");
  if (g->d_projection_kernel && !l->projection)
    return invalid("d_projection_kernel: no projection");
  return check_overlaps(*l, *g);
}

}  // namespace conveyor

extern "C" {

const char* conveyor_error(void) { return conveyor::error; }

int64_t conveyor_lstm_reserve_bytes(const conveyor_lstm* l) {
  if (l->units < 0 || l->units > std::numeric_limits<int64_t>::max() - 15) return -1;
  const int64_t real = conveyor::real_bytes(l->dtype), state = conveyor::state_bytes(l->dtype);
  // The gates and the cell state; in stages what went into them, and what W5 made of it.
  const bool stages = conveyor::in_stages(*l);
  const int64_t unit = stages ? conveyor::states_kept_in_stages(*l) * state : 4 * real + state;
  // Units are padded to the widest vector, so that the size is that of every target.
  const int64_t units = conveyor::product(l->batch, l->time_steps, (l->units + 15) / 16 * 16, unit);
  const int64_t more = conveyor::product(
      l->batch, l->time_steps, stages ? conveyor::moments_kept_in_stages(*l) * state : 0);
  return units < 0 || more < 0 || units > std::numeric_limits<int64_t>::max() - more ? -1
                                                                                    : units + more;
}
}
