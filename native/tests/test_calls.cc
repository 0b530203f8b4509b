// The same request in many ways at once, and cut short.
#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "request.h"
#include "threads.h"

namespace {

// Work enough for three threads, in rows or in units, with masks that end at different steps.
Options for_threads(int dtype, int n) {
  Options o;
  o.dtype = dtype;
  o.batch = n == 0 ? 1 : n == 1 ? 7 : 41;
  o.time_steps = n == 0 ? 40 : 9;
  o.features = 21;
  o.units = 45;
  o.mask = n == 1 ? Options::kRandom : Options::kNone;
  o.resets = n != 2;
  o.dropout_masks = n == 1 ? 4 : 0;
  o.recurrent_dropout_masks = n == 1 ? 4 : n;
  if (o.recurrent_dropout_masks == 2) o.recurrent_dropout_masks = 1;
  return o;
}

// As they are, and computed in stages.
constexpr int kWays = 4;
void in_stages(Options& o, int way) {
  o.layer_norm = way == 0 ? 0 : way - 1;
  o.cell_norm = way == 3;
  o.output_transform = way == 1 || way == 3;
  o.projection = way == 1 ? 23 : way == 3 ? 50 : 0;
  o.peephole = way > 1;
}

void run(Request& request) {
  CHECK_EQUAL(request.forward(true), CONVEYOR_OK);
  CHECK_EQUAL(request.backward(), CONVEYOR_OK);
}

TEST(results_do_not_depend_on_the_number_of_threads) {
  conveyor::pretend_cores(3);
  on_every_target([] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      for (int n = 0; n < 3 * kWays; ++n) {
        Options options = for_threads(dtype, n % 3);
        in_stages(options, n / 3);
        options.threads = 1;
        Request alone(options);
        run(alone);
        for (int threads : {2, 3}) {
          options.threads = threads;
          const At at(options.text());
          Request together(options);
          run(together);
          CHECK(together.same_results(alone));
        }
      }
    }
  });
  conveyor::pretend_cores(0);
}

TEST(any_number_of_threads_may_be_asked_for) {
  Options options;
  options.threads = INT32_MAX;
  Request request(options);
  run(request);
}

TEST(calls_from_many_threads_at_once) {
  conveyor::pretend_cores(4);
  on_every_target([] {
    const std::string outer = context();
    std::vector<std::thread> threads;
    for (int n = 0; n < 6; ++n) {
      threads.emplace_back([n, outer] {
        context() = outer;
        Options options = for_threads(n % 3, n % 2);
        options.threads = 1 + n % 3;
        Request expected(options);
        run(expected);
        for (int again = 0; again < 5; ++again) {
          Request request(options);
          run(request);
          CHECK(request.same_results(expected));
        }
      });
    }
    for (auto& thread : threads) thread.join();
  });
  conveyor::pretend_cores(0);
}

// Memory is taken for as many members as there can be, however many there were told to be since.
TEST(the_number_of_threads_may_change_during_calls) {
  conveyor::pretend_cores(4);
  std::atomic<bool> stop{false};
  std::thread setter([&] {
    for (int n = 0; !stop; n = (n + 1) % 4) CHECK_EQUAL(conveyor_set_threads(1 + n), CONVEYOR_OK);
  });
  for (int n = 0; n < 60; ++n) {
    Options options = for_threads(n % 3, n / 3 % 3);
    Request request(options);
    run(request);
    options.threads = 1;
    Request alone(options);
    run(alone);
    CHECK(request.same_results(alone));
  }
  stop = true;
  setter.join();
  CHECK_EQUAL(conveyor_set_threads(INT32_MAX), CONVEYOR_OK);  // all cores again
  conveyor::pretend_cores(0);
}

using Clock = std::chrono::steady_clock;
std::atomic<int> asked{0};
std::thread::id asked_by;
Clock::time_point asked_at;

int interrupt() {
  asked_by = std::this_thread::get_id();
  asked_at = Clock::now();
  ++asked;
  return 1;
}

Options long_call(int64_t batch, int64_t time_steps) {
  Options options;
  options.batch = batch;
  options.time_steps = time_steps;
  options.features = 8;
  options.units = 256;
  options.outputs = options.arriving = 1 << CONVEYOR_HIDDEN_STATE;
  return options;
}

void interrupt_long_calls() {
  for (int64_t batch : {1, 40}) {
    for (bool backward : {false, true}) {
      // As many steps as take long: the core asks every 50 ms or so.
      for (int64_t time_steps = 100;; time_steps *= 2) {
        Request request(long_call(batch, time_steps));
        const At at(request.options.text());
        if (backward) CHECK_EQUAL(request.forward(true), CONVEYOR_OK);
        asked = 0;
        request.lstm.interrupted = interrupt;
        const auto start = Clock::now();
        const int status = backward ? request.backward() : request.forward(false);
        const auto end = Clock::now();
        if (status == CONVEYOR_OK && end - start < std::chrono::milliseconds(150)) continue;
        CHECK_EQUAL(status, CONVEYOR_INTERRUPTED);
        CHECK(end - asked_at < std::chrono::seconds(1));
        CHECK_EQUAL(asked.load(), 1);
        CHECK(asked_by == std::this_thread::get_id());
        break;
      }
    }
  }
  Request next(Options{});
  run(next);
}

// The weights of a small LSTM stay in the cache, and its step has a path of its own.
void interrupt_a_step_of_many_rows() {
  for (bool keep_reserve : {false, true}) {
    for (int64_t batch = 1 << 12;; batch *= 2) {
      Options options;
      options.batch = batch;
      options.time_steps = options.features = 1;
      options.units = 128;
      options.hidden_state = options.cell_state = false;
      options.outputs = 1 << CONVEYOR_HIDDEN_STATES;
      options.arriving = 0;
      Request request(options);
      const At at(request.options.text());
      asked = 0;
      request.lstm.interrupted = interrupt;
      const auto start = Clock::now();
      const int status = request.forward(keep_reserve);
      const auto end = Clock::now();
      const Array& states = request.states[CONVEYOR_HIDDEN_STATES];
      if (std::isnan(states.get(states.count() - 1))) {  // the end of the step was skipped
        CHECK_EQUAL(status, CONVEYOR_INTERRUPTED);
        break;
      }
      CHECK(end - start < std::chrono::seconds(1));
    }
  }
}

TEST(a_long_call_can_be_interrupted) {
#if defined(CONVEYOR_SANITIZED)
  interrupt_long_calls();  // all targets would take too long
  interrupt_a_step_of_many_rows();
#else
  on_every_target(interrupt_long_calls);
  on_every_target(interrupt_a_step_of_many_rows);
#endif
}

TEST(a_call_that_is_not_interrupted_ends) {
  Options options;
  Request request(options), expected(options);
  request.lstm.interrupted = [] { return 0; };
  run(request);
  run(expected);
  CHECK(request.same_results(expected));
}

}  // namespace
