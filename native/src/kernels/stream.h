// One step of a forward pass on weights that were packed before.
#pragma once

#include "kernels/forward.h"
#include "kernels/gru_forward.h"
#include "kernels/staged_forward.h"
#include "target.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

// Kernel is Forward, or StagedForward.
template <template <class, class, class> class Kernel, class V, class Real, class State>
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
  Kernel<V, Real, State> forward_;
};

template <class V, class Real>
class GruStreamOf final : public Stream {
 public:
  explicit GruStreamOf(const conveyor_gru& g) : gru_(one_step(g)), forward_(gru_, nothing_) {
    forward_.open();
  }

  void step(int64_t batch, const void* x, void* hidden_state, void*) override {
    gru_.x = x;
    forward_.step(batch, static_cast<typename V::T*>(hidden_state));
  }

 private:
  static conveyor_gru one_step(const conveyor_gru& g) {
    conveyor_gru one = g;
    one.time_steps = 1;
    one.go_backwards = one.dropout_masks = one.recurrent_dropout_masks = 0;
    one.hidden_state = one.dropout_mask = one.recurrent_dropout_mask = nullptr;
    one.mask = one.resets = nullptr;
    one.interrupted = nullptr;
    return one;
  }

  conveyor_gru gru_;
  const conveyor_gru_outputs nothing_{};
  GruForward<V, Real> forward_;
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
