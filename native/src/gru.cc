// The entry points of the GRU: check, choose the target, and let nothing escape but a status.
#include "conveyor/gru.h"

#include "checks.h"
#include "guarded.h"
#include "target.h"

extern "C" {

int conveyor_gru_forward(const conveyor_gru* gru, const conveyor_gru_outputs* outputs) {
  if (const int status = conveyor::check(gru, outputs)) return status;
  const conveyor_gru g = conveyor::settled(*gru);
  return conveyor::guarded([&] { return conveyor::target().gru_forward(g, *outputs); });
}

int conveyor_gru_backward(const conveyor_gru* gru, const conveyor_gru_gradients* gradients) {
  if (const int status = conveyor::check(gru, gradients)) return status;
  const conveyor_gru g = conveyor::settled(*gru);
  return conveyor::guarded([&] { return conveyor::target().gru_backward(g, *gradients); });
}
}
