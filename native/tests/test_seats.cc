// Members of a team that find themselves on one core.
#include "seats.h"

#include "check.h"

#if defined(__linux__)
#include <sched.h>

#include <thread>

namespace {

cpu_set_t where_it_may_run() {
  cpu_set_t set;
  CHECK_EQUAL(sched_getaffinity(0, sizeof set, &set), 0);
  return set;
}

// A thread that is on the same core as this one looks for a seat: where it is then, or -1 where
// it may run elsewhere than before.
int core_after(const cpu_set_t& mine, int core) {
  conveyor::Seats seats;
  seats.keep();
  int after = -1;
  std::thread([&] {
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(core, &here);
    CHECK_EQUAL(sched_setaffinity(0, sizeof here, &here), 0);
    CHECK_EQUAL(sched_setaffinity(0, sizeof mine, &mine), 0);
    seats.find();
    const cpu_set_t now = where_it_may_run();
    after = CPU_EQUAL(&now, &mine) ? sched_getcpu() : -1;
  }).join();
  return after;
}

TEST(a_member_on_a_core_that_is_taken_moves) {
  const cpu_set_t all = where_it_may_run();
  if (CPU_COUNT(&all) < 2) SKIP("one core");
  const int core = sched_getcpu();
  cpu_set_t here;
  CPU_ZERO(&here);
  CPU_SET(core, &here);
  CHECK_EQUAL(sched_setaffinity(0, sizeof here, &here), 0);  // or this thread might move
  const int after = core_after(all, core);
  const int alone = core_after(here, core);
  CHECK_EQUAL(sched_setaffinity(0, sizeof all, &all), 0);
  CHECK(after >= 0 && after != core);
  CHECK_EQUAL(alone, core);  // nowhere to go
}

}  // namespace
#endif
