// Some members of a team who are a team by themselves, for one call after the other.
#pragma once

#include <algorithm>

#include "threads.h"

namespace conveyor {

class Group {
 public:
  void be(int size) { size_ = size; }  // before anything else
  int size() const { return size_; }

  // By the first of them, while the others are in serve(): as run_team().
  void run(int wanted, void (*task)(void*, Team&, int), void* context) {
    Team team(std::min(std::max(wanted, 1), size_));
    if (team.size() == 1) return task(context, team, 0);
    task_ = task, context_ = context, team_ = &team;
    busy_.store(size_ - 1);
    round_.store(round_.load() + 1);
    called_.ring();
    task(context, team, 0);
    done_.wait([this] { return busy_.load() == 0; });
  }

  // By the others, each with its number from 1 on; returns after close().
  void serve(int member) {
    for (uint32_t seen = 0;; ++seen) {
      called_.wait([&] { return round_.load() != seen; });
      if (!task_) return;
      if (member < team_->size()) task_(context_, *team_, member);
      if (busy_.fetch_sub(1) == 1) done_.ring();
    }
  }

  // By the first, when there is nothing more to do.
  void close() {
    task_ = nullptr;
    round_.store(round_.load() + 1);
    called_.ring();
  }

 private:
  int size_ = 1;
  void (*task_)(void*, Team&, int) = nullptr;
  void* context_ = nullptr;
  Team* team_ = nullptr;
  std::atomic<int> busy_{0};
  std::atomic<uint32_t> round_{0};
  Bell called_, done_;
};

// Where it is not null, run_team() of this thread takes these and nobody else.
extern thread_local Group* own_group;

}  // namespace conveyor
