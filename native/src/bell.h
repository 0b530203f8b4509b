// Waiting for another thread: at first awake, then politely, then asleep.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "thread_state.h"

namespace conveyor {

using Clock = std::chrono::steady_clock;

// For so long a waiting thread keeps its core to itself; then it offers it to others at each
// turn, which costs half a microsecond where nobody wants it. With 20 us instead of 4, two
// threads that had to share a core on a busy machine needed 80 us a barrier.
constexpr auto kKeen = std::chrono::microseconds(4);

// And for so long it stays awake between calls: those that follow each other from Python are 5
// to 50 us apart, and waking takes 10 to 60. On a busy machine a thread that slept is let in
// sooner than one that used its time up by waiting.
constexpr auto kPatience = std::chrono::microseconds(100);

// And within a call: Linux may wake a thread on the core of the one that wakes it, and leave it
// there for longer than the call takes, though another has nothing to do.
constexpr auto kPatienceInCalls = std::chrono::milliseconds(2);

// Waits until ready(), at most for `limit`; returns ready().
template <class Ready>
bool wait_awake(Ready ready, Clock::duration limit) {
  for (int n = 0; n < 64; ++n) {
    if (ready()) return true;
    pause();
  }
  const auto start = Clock::now();
  for (;;) {
    const auto waited = Clock::now() - start;  // takes as long as one pause
    if (waited > limit) return ready();
    if (waited > kKeen) std::this_thread::yield();
    for (int n = 0; n < 8; ++n) {
      if (ready()) return true;
      pause();
    }
  }
}

class Bell {
 public:
  // Waits until ready(). Who makes it so stores that sequentially consistently, as ready() loads
  // it, and rings after: then one of the two sees what the other did.
  template <class Ready>
  void wait(Ready ready, Clock::duration patience = kPatienceInCalls) {
    if (wait_awake(ready, patience)) return;
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1);
    rung_.wait(lock, ready);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

  void ring() {
    if (sleepers_.load() == 0) return;
    std::lock_guard<std::mutex> lock(mutex_);
    rung_.notify_all();
  }

 private:
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable rung_;
};

}  // namespace conveyor
