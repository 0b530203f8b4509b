#include <algorithm>
#include <cstdint>
#include <limits>

#include "checks.h"
#include "overlaps.h"

namespace conveyor {
namespace {

bool is_activation(int32_t kind) { return kind >= CONVEYOR_TANH && kind < CONVEYOR_ACTIVATIONS; }
bool is_masks(int32_t n) { return n == 0 || n == 1 || n == 3; }

// The largest array of a request, in bytes, with room for the workspace of a few of them.
bool fits(const conveyor_gru& g) {
  const int64_t wide = 8 * 16;  // the widest element, times padding
  // An empty axis must not hide that another is too long.
  return product(std::max<int64_t>(g.batch, 1), g.time_steps, std::max<int64_t>(g.features, 1),
                 wide) >= 0 &&
         product(g.features, g.units, 4, wide) >= 0 && product(g.units, g.units, 4, wide) >= 0 &&
         product(4, g.batch, g.features, wide) >= 0 && product(4, g.batch, g.units, wide) >= 0 &&
         conveyor_gru_reserve_bytes(g.dtype, g.batch, g.time_steps, g.units) >= 0;
}

}  // namespace

int check(const conveyor_gru* g) {
  no_error();
  if (!g || g->size != sizeof(conveyor_gru)) return invalid("gru: size of another version");
  if (g->dtype < CONVEYOR_FLOAT32 || g->dtype > CONVEYOR_BFLOAT16) return invalid("dtype: unknown");
  if (!is_activation(g->activation)) return invalid("activation: unknown");
  if (!is_activation(g->recurrent_activation)) return invalid("recurrent_activation: unknown");
  if (!is_masks(g->dropout_masks) || !is_masks(g->recurrent_dropout_masks))
    return invalid("dropout_masks, recurrent_dropout_masks: 0, 1 or 3");
  if (g->threads < 0) return invalid("threads: negative");
  if (g->batch < 0 || g->time_steps < 0 || g->features < 0 || g->units < 1)
    return invalid("batch, time_steps, features, units: negative, or no units");
  if (!fits(*g)) return invalid("batch, time_steps, features, units: too large for an address");
  if (g->batch > std::numeric_limits<int32_t>::max()) return invalid("batch: over 2147483647");
  if (!g->kernel && g->features > 0) return invalid("kernel: null");
  if (!g->recurrent_kernel) return invalid("recurrent_kernel: null");
  return CONVEYOR_OK;
}

static int check_run(const conveyor_gru* g) {
  if (const int status = check(g)) return status;
  if (!g->x && g->batch > 0 && g->time_steps > 0 && g->features > 0) return invalid("x: null");
  if (g->dropout_masks && !g->dropout_mask && g->batch > 0 && g->features > 0)
    return invalid("dropout_mask: null");
  if (g->recurrent_dropout_masks && !g->recurrent_dropout_mask && g->batch > 0)
    return invalid("recurrent_dropout_mask: null");
  return CONVEYOR_OK;
}

int check(const conveyor_gru* g, const conveyor_gru_outputs* out) {
  if (const int status = check_run(g)) return status;
  if (!out || out->size != sizeof(conveyor_gru_outputs))
    return invalid("outputs: size of another version");
  return check_overlaps(*g, *out);
}

int check(const conveyor_gru* g, const conveyor_gru_gradients* d) {
  if (const int status = check_run(g)) return status;
  if (!d || d->size != sizeof(conveyor_gru_gradients))
    return invalid("gradients: size of another version");
  const bool any = g->batch > 0 && g->time_steps > 0;
  if (any && (!d->hidden_states || !d->reserve)) return invalid("hidden_states, reserve: null");
  if (d->d_dropout_mask && !g->dropout_masks) return invalid("d_dropout_mask: no dropout_mask");
  if (d->d_recurrent_dropout_mask && !g->recurrent_dropout_masks)
    return invalid("d_recurrent_dropout_mask: no recurrent_dropout_mask");
  return check_overlaps(*g, *d);
}

}  // namespace conveyor

extern "C" int64_t conveyor_gru_reserve_bytes(int32_t dtype, int64_t batch, int64_t time_steps,
                                              int64_t units) {
  if (units < 0 || units > std::numeric_limits<int64_t>::max() - 15) return -1;
  // Update gates, reset gates, candidates, h' R_g + b'_g; padded as those of the LSTM.
  return conveyor::product(batch, time_steps, (units + 15) / 16 * 16,
                           4 * conveyor::real_bytes(dtype));
}
