// A stack of layers, of which each computes a step as soon as the one before has: two threads are
// at two layers, along a diagonal of the steps.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "bell.h"

namespace conveyor {

// How many steps of a request are there for another to read.
class Progress {
 public:
  void reach(int64_t steps) {
    steps_.store(steps);
    reached_.ring();
  }
  void wait_for(int64_t steps) {
    if (steps_.load() < steps) reached_.wait([&] { return steps_.load() >= steps; });
  }

 private:
  alignas(64) std::atomic<int64_t> steps_{0};
  Bell reached_;
};

// What a request reads from while it runs, and what it tells; null where nobody runs beside it.
// Who has one of them runs on one thread.
struct Wavefront {
  Progress* before = nullptr;
  Progress* own = nullptr;

  bool any() const { return before || own; }
};

// Steps after which a request tells, and whose x W or dz W^T its layer computes at once: enough for
// two tiles of rows, and few beside all.
inline int64_t turn(int64_t batch, int64_t time_steps) {
  constexpr int64_t kRows = 12, kTurns = 8;
  return std::max<int64_t>(1, std::min(kRows / std::max<int64_t>(1, batch), time_steps / kTurns));
}

}  // namespace conveyor
