// One step of the forward pass on weights that were packed before.
#pragma once

#include "kernels/forward.h"
#include "target.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

template <class V, class Real, class State>
class StreamOf final : public Stream {
 public:
  explicit StreamOf(const conveyor_lstm& l) : lstm_(one_step(l)), forward_(lstm_, nothing_) {
    forward_.open();
  }

  void step(int64_t batch, const void* x, void* hidden_state, void* cell_state) override {
    lstm_.x = x;
    forward_.step(batch, static_cast<Real*>(hidden_state), static_cast<State*>(cell_state));
  }

 private:
  static conveyor_lstm one_step(const conveyor_lstm& l) {
    conveyor_lstm one = l;
    one.time_steps = 1;
    one.go_backwards = one.dropout_masks = one.recurrent_dropout_masks = 0;
    one.hidden_state = one.cell_state = one.dropout_mask = one.recurrent_dropout_mask = nullptr;
    one.mask = one.resets = one.hidden_zoneout = one.cell_zoneout = nullptr;
    one.interrupted = nullptr;
    return one;
  }

  conveyor_lstm lstm_;
  const conveyor_lstm_outputs nothing_{};
  Forward<V, Real, State> forward_;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
