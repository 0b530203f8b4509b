// One thread of the pool, and how it is asked to take part in a job.
#pragma once

#include <atomic>

#include "bell.h"
#include "thread_state.h"
#include "threads.h"

namespace conveyor {

// What a call asks its team to do; on the stack of the caller.
struct Job {
  void (*const task)(void*, Team&, int);
  void* const context;
  const FloatMode mode = float_mode();
  Team* team = nullptr;  // before `begun`
  std::atomic<bool> begun{false};
  Bell beginning = {};
};

// Claimed by one caller at a time. The caller offers it a job, and where it does not join in
// time, takes the offer back: a core that another program uses must not hold up everybody. A
// worker touches the job from when it has joined until it is idle again.
class alignas(64) Worker {
 public:
  bool claim() {
    return !claimed_.load(std::memory_order_relaxed) &&
           !claimed_.exchange(true, std::memory_order_acquire);
  }
  void release() { claimed_.store(false, std::memory_order_release); }

  // The rest of the caller's side is for who claimed it.
  void offer(Job* job) {
    job_ = job;
    state_.store(kOffered);
    offered_.ring();
  }
  bool joined(Clock::duration limit) {
    if (wait_awake([this] { return state_.load(std::memory_order_acquire) == kJoined; }, limit))
      return true;
    int offered = kOffered;
    return !state_.compare_exchange_strong(offered, kIdle, std::memory_order_acquire);
  }
  void be(int member) { member_ = member; }  // before `begun`
  void wait_until_done() {
    done_.wait([this] { return state_.load() == kIdle; });
  }

  void work() {
    for (;;) {
      offered_.wait([this] { return state_.load() == kOffered; }, kPatience);
      int offered = kOffered;
      if (!state_.compare_exchange_strong(offered, kJoined)) continue;
      Job& job = *job_;
      job.beginning.wait([&] { return job.begun.load(); });
      set_float_mode(job.mode);
      job.team->sit_down();
      job.task(job.context, *job.team, member_);
      state_.store(kIdle);
      done_.ring();
    }
  }

 private:
  enum { kIdle, kOffered, kJoined };
  std::atomic<bool> claimed_{false};
  std::atomic<int> state_{kIdle};
  Job* job_ = nullptr;
  int member_ = 0;
  Bell offered_, done_;
};

}  // namespace conveyor
