// Several requests in one call, against each by itself.
#include <atomic>
#include <chrono>
#include <cmath>
#include <memory>
#include <thread>

#include "request.h"
#include "threads.h"

namespace {

struct Requests {
  explicit Requests(const std::vector<Options>& options) {
    for (const Options& each : options) all.emplace_back(new Request(each));
    for (const auto& each : all) lstms.push_back(&each->lstm);
  }
  int forward() {
    outputs.clear();
    for (const auto& each : all) outputs.push_back(each->outputs(true));
    std::vector<const conveyor_lstm_outputs*> to;
    for (const auto& each : outputs) to.push_back(&each);
    return conveyor_lstm_forward_together(lstms.data(), to.data(), count());
  }
  int backward() {
    gradients.clear();
    for (const auto& each : all) gradients.push_back(each->wanted());
    std::vector<const conveyor_lstm_gradients*> to;
    for (const auto& each : gradients) to.push_back(&each);
    return conveyor_lstm_backward_together(lstms.data(), to.data(), count());
  }
  int32_t count() const { return static_cast<int32_t>(all.size()); }

  std::vector<std::unique_ptr<Request>> all;
  std::vector<const conveyor_lstm*> lstms;
  std::vector<conveyor_lstm_outputs> outputs;
  std::vector<conveyor_lstm_gradients> gradients;
};

// Two directions, and others that are larger or smaller.
std::vector<Options> several(int dtype, int count, int threads) {
  std::vector<Options> all;
  for (int n = 0; n < count; ++n) {
    Options o;
    o.dtype = dtype;
    o.batch = 5;
    o.time_steps = 12;
    o.features = 21;
    o.units = n == 2 ? 7 : 45;
    o.go_backwards = n == 1;
    o.mask = n == 1 ? Options::kRandom : Options::kNone;
    o.recurrent_dropout_masks = n == 0 ? 4 : 0;
    o.threads = threads;
    o.seed = static_cast<uint64_t>(n + 1);
    all.push_back(o);
  }
  return all;
}

TEST(requests_together_are_what_each_is_alone) {
  on_every_target([] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      for (int count : {1, 2, 3}) {
        for (int threads : {1, 2, 3, 4, 5}) {
          conveyor::pretend_cores(threads);
          const std::vector<Options> options = several(dtype, count, threads);
          const At at(std::to_string(count) + " with " + std::to_string(threads) + " threads");
          Requests together(options);
          CHECK_EQUAL(together.forward(), CONVEYOR_OK);
          CHECK_EQUAL(together.backward(), CONVEYOR_OK);
          for (int n = 0; n < count; ++n) {
            Request alone(options[static_cast<size_t>(n)]);
            CHECK_EQUAL(alone.forward(true), CONVEYOR_OK);
            CHECK_EQUAL(alone.backward(), CONVEYOR_OK);
            CHECK(alone.same_results(*together.all[static_cast<size_t>(n)]));
          }
        }
      }
    }
  });
  conveyor::pretend_cores(0);
}

TEST(where_one_of_several_is_invalid_none_runs) {
  Requests two(several(CONVEYOR_FLOAT32, 2, 2));
  two.all[1]->lstm.kernel = nullptr;
  CHECK_EQUAL(two.forward(), CONVEYOR_INVALID);
  CHECK(std::string(conveyor_error()) == "kernel: null");
  CHECK(std::isnan(two.all[0]->states[CONVEYOR_HIDDEN_STATE].get(0)));
  CHECK_EQUAL(conveyor_lstm_forward_together(two.lstms.data(), nullptr, 2), CONVEYOR_INVALID);
  CHECK_EQUAL(conveyor_lstm_backward_together(nullptr, nullptr, 0), CONVEYOR_INVALID);
}

std::atomic<int> asked{0};
std::thread::id asked_by;

// The shorter of the two is done before anybody asks: the caller has to go on asking.
TEST(the_caller_is_asked_and_all_end) {
  conveyor::pretend_cores(2);
  for (int longer : {0, 1}) {
    for (int64_t time_steps = 500;; time_steps *= 2) {
      std::vector<Options> options(2);
      for (int n = 0; n < 2; ++n) {
        Options& o = options[static_cast<size_t>(n)];
        o.batch = 8;
        o.time_steps = n == longer ? time_steps : 20;
        o.units = 128;
        o.outputs = 1 << CONVEYOR_HIDDEN_STATE;
        o.threads = 2;
      }
      Requests two(options);
      two.all[0]->lstm.interrupted = [] {
        asked_by = std::this_thread::get_id();
        ++asked;
        return 1;
      };
      asked = 0;
      const auto start = std::chrono::steady_clock::now();
      const int status = two.forward();
      const auto took = std::chrono::steady_clock::now() - start;
      if (status == CONVEYOR_OK && took < std::chrono::milliseconds(400)) continue;
      CHECK_EQUAL(status, CONVEYOR_INTERRUPTED);
      CHECK(asked >= 1);
      CHECK(asked_by == std::this_thread::get_id());
      break;
    }
  }
  conveyor::pretend_cores(0);
}

}  // namespace
