// The entry points: check, choose the target, and let nothing escape but a status.
#include "conveyor/lstm.h"

#include <new>

#include "checks.h"
#include "target.h"
#include "threads.h"

namespace {

template <class Run>
int guarded(Run run) noexcept {
  try {
    return run();
  } catch (const std::bad_alloc&) {
    return CONVEYOR_OUT_OF_MEMORY;
  } catch (...) {
    return conveyor::invalid("an internal error");
  }
}

// With the number of threads settled for the whole call, whatever other threads set meanwhile:
// memory is taken for so many members.
conveyor_lstm settled(const conveyor_lstm& lstm) {
  conveyor_lstm l = lstm;
  l.threads = conveyor::largest_team(l.threads);
  return l;
}

}  // namespace

extern "C" {

int conveyor_abi(void) { return CONVEYOR_ABI; }

int conveyor_lstm_forward(const conveyor_lstm* lstm, const conveyor_lstm_outputs* outputs) {
  if (const int status = conveyor::check(lstm, outputs)) return status;
  const conveyor_lstm l = settled(*lstm);
  return guarded([&] { return conveyor::target().forward(l, *outputs); });
}

int conveyor_lstm_backward(const conveyor_lstm* lstm, const conveyor_lstm_gradients* gradients) {
  if (const int status = conveyor::check(lstm, gradients)) return status;
  const conveyor_lstm l = settled(*lstm);
  return guarded([&] { return conveyor::target().backward(l, *gradients); });
}
}
