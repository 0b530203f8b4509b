// Which rows of the batch are computed at which step.
#pragma once

#include <cstdint>

#include "conveyor/lstm.h"
#include "workspace.h"

namespace conveyor {

// `t` counts steps in the order in which they are computed.
class Steps {
 public:
  Steps(const conveyor_lstm& l, Workspace& memory)
      : batch_(l.batch), time_steps_(l.time_steps), backwards_(l.go_backwards), masked_(l.mask), resets_(l.resets) {
    if (resets_) find_resets(memory);
    if (!masked_) return;
    starts_ = memory.take<int64_t>(time_steps_ + 1);
    rows_ = memory.take<int32_t>(batch_ * time_steps_);
    int64_t n = 0;
    for (int64_t t = 0; t < time_steps_; ++t) {
      starts_[t] = n;
      for (int64_t b = 0; b < batch_; ++b)
        if (l.mask[b * time_steps_ + time(t)]) rows_[n++] = static_cast<int32_t>(b);
    }
    starts_[time_steps_] = n;
  }

  // The time step of x that is read at step t.
  int64_t time(int64_t t) const { return backwards_ ? time_steps_ - 1 - t : t; }
  // How many rows step t computes, which they are, and how many all steps before it computed.
  int64_t count(int64_t t) const { return masked_ ? starts_[t + 1] - starts_[t] : batch_; }
  int64_t row(int64_t t, int64_t n) const { return masked_ ? rows_[starts_[t] + n] : n; }
  int64_t before(int64_t t) const { return masked_ ? starts_[t] : t * batch_; }
  bool masked() const { return masked_; }
  // The conveyor_reset of a row before step t, and whether any row has one.
  int reset(int64_t b, int64_t t) const {
    if (!resets_) return CONVEYOR_GO_ON;
    const uint8_t reset = resets_[b * time_steps_ + time(t)];
    if (reset > CONVEYOR_AT_THE_START) return CONVEYOR_AT_ZERO;
    return reset;
  }
  bool resets(int64_t t) const { return resets_ && any_[t]; }
  // Whether some row begins anew at the states before the first step.
  bool resets_to_start() const { return to_start_; }

 private:
  void find_resets(Workspace& memory) {
    any_ = memory.take<uint8_t>(time_steps_);
    for (int64_t t = 0; t < time_steps_; ++t) {
      any_[t] = 0;
      for (int64_t b = 0; b < batch_; ++b) {
        any_[t] |= reset(b, t) != CONVEYOR_GO_ON;
        to_start_ |= reset(b, t) == CONVEYOR_AT_THE_START;
      }
    }
  }

  const int64_t batch_, time_steps_;
  const bool backwards_, masked_;
  const uint8_t* const resets_;
  bool to_start_ = false;
  uint8_t* any_ = nullptr;
  int64_t* starts_ = nullptr;
  int32_t* rows_ = nullptr;
};

}  // namespace conveyor
