#include "openmp.h"

#include <algorithm>
#include <atomic>

#include "conveyor/threads.h"
#include "thread_state.h"

#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace conveyor {
namespace {

std::atomic<bool> in_use{false};
conveyor_openmp openmp;

#if !defined(_WIN32)
// libgomp waits for ever in a child: its threads are the parent's.
[[maybe_unused]] const int at_fork =
    pthread_atfork(nullptr, nullptr, [] { in_use.store(false, std::memory_order_relaxed); });
#endif

struct Share {
  Team& team;
  void (*task)(void*, Team&, int);
  void* context;
  FloatMode mode;
};

void take_part(void* shared) {
  const Share& share = *static_cast<Share*>(shared);
  const int member = openmp.get_thread_num();
  if (openmp.get_num_threads() < share.team.size()) {  // nested, or none could be had
    if (member != 0) return;
    Team alone(1);
    return share.task(share.context, alone, 0);
  }
  // All of the framework's threads come, as its own calls have all of them: libgomp ends those
  // that one call leaves out, and starts them again for the next.
  if (member >= share.team.size()) return;
  if (member != 0) share.team.sit_down();
  const FloatMode own = float_mode();
  set_float_mode(share.mode);
  share.task(share.context, share.team, member);
  set_float_mode(own);
}

}  // namespace

bool run_openmp_team(int wanted, void (*task)(void*, Team&, int), void* context) {
  if (!in_use.load(std::memory_order_acquire)) return false;
  const int size = std::min(wanted, openmp.get_max_threads());
  if (size < 2) return false;
  Team team(size);
  Share share{team, task, context, float_mode()};
  openmp.parallel(take_part, &share, 0, 0);
  return true;
}

}  // namespace conveyor

extern "C" int conveyor_use_openmp(const conveyor_openmp* runtime) {
  if (!runtime) {
    conveyor::in_use.store(false);
    return CONVEYOR_OK;
  }
  if (runtime->size != sizeof *runtime || !runtime->parallel || !runtime->get_thread_num ||
      !runtime->get_num_threads || !runtime->get_max_threads)
    return CONVEYOR_INVALID;
  // Once only: a call may be reading it.
  if (conveyor::openmp.parallel) {
    if (conveyor::openmp.parallel != runtime->parallel) return CONVEYOR_INVALID;
  } else {
    conveyor::openmp = *runtime;
  }
  conveyor::in_use.store(true, std::memory_order_release);
  return CONVEYOR_OK;
}
