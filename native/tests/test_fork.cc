// Processes that fork, and that end, whatever their threads are doing.
#if !defined(_WIN32)
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "request.h"
#include "threads.h"

namespace {

Options work() {
  Options options;
  options.batch = 9;
  options.time_steps = 12;
  options.features = 20;
  options.units = 40;
  options.threads = 3;
  return options;
}

// In a child, which must end well within the time.
#if defined(THREAD_SANITIZER)
#define SKIP_UNDER_THREAD_SANITIZER SKIP("ThreadSanitizer ends children of fork that start threads")
#else
#define SKIP_UNDER_THREAD_SANITIZER
#endif

template <class Run>
void in_child(Run run) {
  std::fflush(nullptr);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    alarm(60);
    run();
    _exit(0);
  }
  int status = -1;
  CHECK_EQUAL(waitpid(child, &status, 0), child);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    fail(__FILE__, __LINE__, "the child hangs");
  CHECK_EQUAL(status, 0);
}

void run_and_compare(const Request& expected) {
  Request request(expected.options);
  CHECK_EQUAL(request.forward(true), CONVEYOR_OK);
  CHECK_EQUAL(request.backward(), CONVEYOR_OK);
  CHECK(request.same_results(expected));
}

int team_size() {
  int size = 0;
  auto task = [&](conveyor::Team& team, int member) {
    team.barrier();
    if (member == 0) size = team.size();
  };
  conveyor::run_team(3, task);
  return size;
}

TEST(a_child_computes_and_has_threads_of_its_own) {
  SKIP_UNDER_THREAD_SANITIZER;
  conveyor::pretend_cores(3);
  Request expected(work());
  CHECK_EQUAL(expected.forward(true), CONVEYOR_OK);
  CHECK_EQUAL(expected.backward(), CONVEYOR_OK);
  for (int n = 0; n < 3; ++n) {
    in_child([&] {
      run_and_compare(expected);
      CHECK_EQUAL(team_size(), 3);
      in_child([&] { run_and_compare(expected); });
    });
  }
  run_and_compare(expected);
  CHECK_EQUAL(team_size(), 3);
  conveyor::pretend_cores(0);
}

TEST(a_fork_may_come_while_others_are_in_calls) {
#if defined(CONVEYOR_SANITIZED)
  SKIP("the child may find a lock of the sanitizer's own malloc held");
#endif
  conveyor::pretend_cores(3);
  Request expected(work());
  CHECK_EQUAL(expected.forward(true), CONVEYOR_OK);
  CHECK_EQUAL(expected.backward(), CONVEYOR_OK);
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int n = 0; n < 2; ++n)
    busy.emplace_back([&] {
      while (!stop) run_and_compare(expected);
    });
  for (int n = 0; n < 20; ++n) in_child([&] { run_and_compare(expected); });
  stop = true;
  for (auto& thread : busy) thread.join();
  conveyor::pretend_cores(0);
}

// As with a daemon thread of Python: static destructors run while a call does.
TEST(a_process_may_end_during_a_call) {
  SKIP_UNDER_THREAD_SANITIZER;
  conveyor::pretend_cores(3);
  for (bool quick : {false, true}) {
    in_child([&] {
      std::atomic<int> calls{0};
      std::thread([&] {
        for (;;) {
          Request request(work());
          CHECK_EQUAL(request.forward(false), CONVEYOR_OK);
          ++calls;
        }
      }).detach();
      while (calls < 3) std::this_thread::yield();
      quick ? _exit(0) : std::exit(0);
    });
  }
  conveyor::pretend_cores(0);
}

TEST(a_call_does_without_threads_that_cannot_be_had) {
#if !defined(__GLIBC__)
  SKIP("no way to make threads fail on this system");
#elif defined(CONVEYOR_SANITIZED)
  SKIP("sanitizers set the stacks of threads themselves");
#else
  Request expected(work());
  CHECK_EQUAL(expected.forward(true), CONVEYOR_OK);
  CHECK_EQUAL(expected.backward(), CONVEYOR_OK);
  in_child([&] {
    conveyor::pretend_cores(3);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    CHECK_EQUAL(pthread_attr_setstacksize(&attributes, size_t{1} << 46), 0);
    CHECK_EQUAL(pthread_setattr_default_np(&attributes), 0);
    CHECK_EQUAL(team_size(), 1);
    run_and_compare(expected);
    CHECK_EQUAL(pthread_attr_setstacksize(&attributes, size_t{1} << 20), 0);
    CHECK_EQUAL(pthread_setattr_default_np(&attributes), 0);
    CHECK_EQUAL(team_size(), 3);
  });
#endif
}

}  // namespace
#endif
