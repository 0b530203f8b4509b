// The entry points: check, choose the target, and let nothing escape but a status.
#include "conveyor/lstm.h"

#include "checks.h"
#include "guarded.h"
#include "target.h"

extern "C" {

int conveyor_abi(void) { return CONVEYOR_ABI; }

int conveyor_lstm_forward(const conveyor_lstm* lstm, const conveyor_lstm_outputs* outputs) {
  if (const int status = conveyor::check(lstm, outputs)) return status;
  const conveyor_lstm l = conveyor::settled(*lstm);
  return conveyor::guarded([&] { return conveyor::target().forward(l, *outputs, {}); });
}

int conveyor_lstm_backward(const conveyor_lstm* lstm, const conveyor_lstm_gradients* gradients) {
  if (const int status = conveyor::check(lstm, gradients)) return status;
  const conveyor_lstm l = conveyor::settled(*lstm);
  return conveyor::guarded([&] { return conveyor::target().backward(l, *gradients, {}); });
}
}
