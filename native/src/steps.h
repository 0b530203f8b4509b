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
      : batch_(l.batch), time_steps_(l.time_steps), backwards_(l.go_backwards), masked_(l.mask) {
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

 private:
  const int64_t batch_, time_steps_;
  const bool backwards_, masked_;
  int64_t* starts_ = nullptr;
  int32_t* rows_ = nullptr;
};

}  // namespace conveyor
