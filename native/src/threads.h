// A few threads that wait for work, and meet at barriers while they do it.
#pragma once

#include <atomic>
#include <cstdint>

#include "bell.h"
#include "seats.h"

namespace conveyor {

// What a task knows of the others that run it with it.
class Team {
 public:
  explicit Team(int size) : size_(size) {
    if (size > 1) seats_.keep();
  }
  int size() const { return size_; }
  // Returns when all have come. Every member must call it equally often.
  void barrier();
  // For every member but the caller, before it begins.
  void sit_down() { seats_.find(); }

 private:
  const int size_;
  alignas(64) std::atomic<int> waiting_{0};
  alignas(64) std::atomic<uint32_t> round_{0};
  Bell all_came_;
  Seats seats_;
};

// Runs task(context, team, member) for every member of a team of at most `wanted`, the
// caller being member 0, and returns when all are done. A team is smaller where cores are
// few, or busy with other calls or programs, or threads cannot be had, so a task must not rely
// on its size. A task must not throw, and must not fork and go on in the child.
//
// Takes about `seconds` alone: the longer, the longer it may wait for workers that sleep.
void run_team(int wanted, void (*task)(void*, Team&, int), void* context, double seconds = 0);

template <class Task>
void run_team(int wanted, Task& task, double seconds = 0) {
  run_team(
      wanted, [](void* t, Team& team, int member) { (*static_cast<Task*>(t))(team, member); },
      &task, seconds);
}

// How large a team of so many `wanted` can become; 0 stands for conveyor_threads().
int largest_team(int wanted);

// For tests: teams as if there were so many cores, and all the time to join; 0 to end it.
void pretend_cores(int n);

}  // namespace conveyor
