// Teams of threads, by themselves.
#include "threads.h"

#include <atomic>
#include <thread>
#include <vector>

#include "check.h"
#include "conveyor/lstm.h"
#include "conveyor/threads.h"
#include "thread_state.h"

namespace {

using conveyor::run_team;
using conveyor::Team;

struct Cores {
  explicit Cores(int n) { conveyor::pretend_cores(n); }
  ~Cores() { conveyor::pretend_cores(0); }
};

// Every member writes, and after the barrier reads what its neighbour wrote.
int meet(int wanted, int rounds) {
  int size = 0;
  std::vector<int> written(static_cast<size_t>(wanted));
  auto task = [&](Team& team, int member) {
    CHECK(member >= 0 && member < team.size() && team.size() <= wanted);
    if (member == 0) size = team.size();
    for (int round = 1; round <= rounds; ++round) {
      written[static_cast<size_t>(member)] = round;
      team.barrier();
      CHECK_EQUAL(written[static_cast<size_t>((member + 1) % team.size())], round);
      team.barrier();
    }
  };
  run_team(wanted, task);
  return size;
}

TEST(members_meet_at_barriers) {
  const Cores cores(4);
  for (int wanted : {1, 2, 3, 4}) CHECK_EQUAL(meet(wanted, 200), wanted);
}

TEST(calls_follow_each_other) {
  const Cores cores(3);
  for (int n = 0; n < 2000; ++n) CHECK_EQUAL(meet(1 + n % 3, 1), 1 + n % 3);
}

TEST(a_worker_that_has_gone_to_sleep_wakes) {
  const Cores cores(3);
  for (int n = 0; n < 20; ++n) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    CHECK_EQUAL(meet(3, 2), 3);
  }
}

TEST(members_wait_for_one_that_is_late) {
  const Cores cores(2);
  for (int late : {0, 1}) {
    std::atomic<bool> came{false};
    auto task = [&](Team& team, int member) {
      if (member == late) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        came = true;
      }
      team.barrier();
      CHECK(came);
    };
    run_team(2, task);
  }
}

TEST(a_team_is_no_larger_than_the_cores_or_the_wish) {
  CHECK(meet(1000, 1) <= conveyor_threads());
  const Cores cores(2);
  CHECK_EQUAL(meet(5, 3), 2);
  CHECK_EQUAL(meet(1, 3), 1);
  CHECK_EQUAL(meet(0 + 1, 0), 1);
}

TEST(a_call_within_a_call_takes_what_is_left) {
  const Cores cores(3);
  std::atomic<int> inner{0};
  auto task = [&](Team&, int) {
    auto nested = [&](Team& team, int) {
      CHECK(team.size() <= 2);
      team.barrier();
      ++inner;
    };
    run_team(3, nested);
  };
  run_team(2, task);
  CHECK(inner >= 2);
}

TEST(calls_of_many_threads_share_the_cores) {
  const Cores cores(4);
  std::atomic<int> inside{0};
  std::vector<std::thread> callers;
  for (int n = 0; n < 6; ++n) {
    callers.emplace_back([&] {
      for (int again = 0; again < 300; ++again) {
        auto task = [&](Team& team, int member) {
          const int now = ++inside;
          CHECK(now <= 6 + 3);  // the callers, and the workers that four cores have room for
          team.barrier();
          --inside;
          (void)member;
        };
        run_team(3, task);
      }
    });
  }
  for (auto& caller : callers) caller.join();
  CHECK_EQUAL(inside.load(), 0);
}

#if defined(__x86_64__)
TEST(workers_round_as_their_caller_does) {
  const Cores cores(2);
  constexpr unsigned kFlushToZero = 0x8040, kUp = 0x4000;
  const unsigned before = conveyor::float_mode();
  for (const unsigned mode : {before, before | kFlushToZero, before | kUp, before}) {
    conveyor::set_float_mode(mode);
    auto task = [&](Team&, int) { CHECK_EQUAL(conveyor::float_mode() & 0xffc0, mode & 0xffc0); };
    run_team(2, task);
  }
}
#endif

// An OpenMP runtime of our own.
thread_local int openmp_thread = 0;
std::atomic<int> openmp_calls{0};
int openmp_size = 3;

void parallel(void (*function)(void*), void* data, unsigned threads, unsigned) {
  CHECK_EQUAL(threads, 0u);
  ++openmp_calls;
  std::vector<std::thread> team;
  for (int n = 1; n < openmp_size; ++n) {
    team.emplace_back([=] {
      openmp_thread = n;
      function(data);
    });
  }
  function(data);
  for (auto& thread : team) thread.join();
}

TEST(a_frameworks_threads_are_taken) {
  const Cores cores(8);
  conveyor_openmp runtime{};
  CHECK_EQUAL(conveyor_use_openmp(&runtime), CONVEYOR_INVALID);
  static int most = 3;
  runtime = {sizeof runtime, parallel, [] { return openmp_thread; }, [] { return openmp_size; },
             [] { return most; }};
  CHECK_EQUAL(conveyor_use_openmp(&runtime), CONVEYOR_OK);
  CHECK_EQUAL(meet(2, 20), 2);
  CHECK_EQUAL(meet(3, 20), 3);
  CHECK_EQUAL(meet(7, 20), 3);
  CHECK_EQUAL(openmp_calls.load(), 3);
  CHECK_EQUAL(meet(1, 20), 1);
  most = 1;  // the framework was set to one thread: then its own are enough
  CHECK_EQUAL(meet(3, 20), 3);
  most = 3;
  CHECK_EQUAL(openmp_calls.load(), 3);
  openmp_size = 1;  // it gives fewer than it said
  CHECK_EQUAL(meet(3, 20), 1);
  openmp_size = 3;
  CHECK_EQUAL(openmp_calls.load(), 4);
  CHECK_EQUAL(conveyor_use_openmp(nullptr), CONVEYOR_OK);
  CHECK_EQUAL(meet(3, 20), 3);
  CHECK_EQUAL(openmp_calls.load(), 4);
}

}  // namespace
