// Sizes, and who computes what.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "conveyor/lstm.h"
#include "threads.h"

namespace conveyor {
namespace CONVEYOR_TARGET_NAMESPACE {

struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// The part of [0,n) of one of `parts`.
inline Range share(int64_t n, int64_t parts, int64_t part) {
  return {n * part / parts, n * (part + 1) / parts};
}

// Axes of a request, with units in panels of L.
struct Shape {
  Shape(const conveyor_lstm& l, int lanes)
      : B(l.batch), T(l.time_steps), F(l.features), U(l.units), L(lanes),
        P((U + lanes - 1) / lanes), padded(P * lanes),
        H(l.projection ? l.projection : l.units), HP((H + lanes - 1) / lanes),
        hidden_padded(HP * lanes) {}
  const int64_t B, T, F, U, L, P, padded, H, HP, hidden_padded;

  // A row of hidden states in the workspace. Not a multiple of 1 KiB: the rows of a tile would
  // share the sets of the first-level cache.
  int64_t row() const { return hidden_padded % 256 ? hidden_padded : hidden_padded + 16; }
};

// Threads for so many multiply-adds: waking one costs as much as computing 50,000 of them.
inline int threads_for(int32_t threads, double multiply_adds) {
  const int most = threads ? threads : conveyor_threads();
  return static_cast<int>(std::max(1.0, std::min<double>(most, multiply_adds / 50e3)));
}

// Of one core, at least.
constexpr double kMultiplyAddsASecond = 50e9;

// Of so many threads, those that are worth it where all meet after each step: a meeting costs
// little where every core is theirs alone, and a hundred times that where one is not.
inline int threads_for_steps(int threads, double multiply_adds_of_a_step) {
  return static_cast<int>(std::max(1.0, std::min<double>(threads, multiply_adds_of_a_step / 64e3)));
}

// Those for a step of a stream, where they are woken for each. With 8 rows of 64 units a second one
// saves 1 of 8 microseconds where cores are idle, and where they are not a step takes five times as
// long.
inline int threads_for_stream(int32_t threads, double multiply_adds) {
  return threads_for_steps(threads_for(threads, multiply_adds), multiply_adds / 3);
}

// Members of a team that stop together when the caller wants to.
class Stop {
 public:
  explicit Stop(int (*interrupted)(void)) : interrupted_(interrupted) {}

  // By member 0.
  bool asked() {
    if (!interrupted_ || stopped()) return stopped();
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return false;
    last_ = now;
    if (interrupted_()) asked_.store(true, std::memory_order_relaxed);
    return stopped();
  }

  // Within a step that may take long: whether to skip the rest of it, up to where all meet.
  bool skip(int member) { return member == 0 ? asked() : stopped(); }

  // All members come here equally often and get the same answer.
  bool meet(Team& team, int member, int64_t& round) {
    if (member == 0 && asked()) at_.store(std::min(at_.load(), round), std::memory_order_relaxed);
    team.barrier();
    return at_.load(std::memory_order_relaxed) <= round++;
  }

  // For members that do not meet before the next round: it is at that round that all stop, as one
  // may still be on its way out of the round before.
  bool alone(int member, int64_t round) {
    if (member == 0 && asked()) at_.store(std::min(at_.load(), round), std::memory_order_relaxed);
    return at_.load(std::memory_order_relaxed) <= round;
  }

  bool stopped() const { return asked_.load(std::memory_order_relaxed); }

 private:
  int (*const interrupted_)(void);
  std::atomic<bool> asked_{false};
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  // The round at which to stop: a member that is late must not see the next round's answer.
  std::atomic<int64_t> at_{INT64_MAX};
};

}  // namespace CONVEYOR_TARGET_NAMESPACE
}  // namespace conveyor
