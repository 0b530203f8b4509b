// Layers one above the other in one call, against one call after the other.
#include <memory>

#include "request.h"
#include "threads.h"

namespace {

using Layers = std::vector<std::unique_ptr<Request>>;

// Of different sizes and kinds; the layer `n` reads `features`.
Options layer(int dtype, int n, int64_t features, int64_t time_steps) {
  Options o;
  o.dtype = dtype;
  o.batch = 3;
  o.time_steps = time_steps;
  o.features = features;
  o.units = 37 + 8 * n;
  o.mask = n == 1 ? Options::kRandom : Options::kNone;
  o.resets = n == 2;
  o.dropout_masks = n == 1 ? 4 : 0;
  o.go_backwards = n == 3;
  o.layer_norm = n == 2 ? CONVEYOR_JOINT : CONVEYOR_NO_NORM;
  o.projection = n == 2 ? 20 : 0;
  o.threads = 2;
  o.seed = static_cast<uint64_t>(n + 1);
  return o;
}

Layers stack(int dtype, int count, int64_t time_steps) {
  Layers layers;
  int64_t features = 11;
  for (int n = 0; n < count; ++n) {
    layers.emplace_back(new Request(layer(dtype, n, features, time_steps)));
    features = layers.back()->options.hidden();
  }
  return layers;
}

struct Calls {
  std::vector<const conveyor_lstm*> lstms;
  std::vector<conveyor_lstm_outputs> outputs;
  std::vector<conveyor_lstm_gradients> gradients;  // the highest layer first

  explicit Calls(const Layers& layers) {
    for (const auto& each : layers) {
      if (!outputs.empty()) each->lstm.x = outputs.back().states[CONVEYOR_HIDDEN_STATES];
      lstms.push_back(&each->lstm);
      outputs.push_back(each->outputs(true));
    }
  }
  void plan_backward(const Layers& layers) {
    for (size_t n = layers.size(); n-- > 0;) {
      conveyor_lstm_gradients g = layers[n]->wanted();
      if (!gradients.empty()) g.d_states[CONVEYOR_HIDDEN_STATES] = gradients.back().d_x;
      gradients.push_back(g);
    }
  }
};

int together(const Layers& layers) {
  Calls calls(layers);
  std::vector<const conveyor_lstm_outputs*> to;
  for (const auto& each : calls.outputs) to.push_back(&each);
  const auto count = static_cast<int32_t>(layers.size());
  if (const int status = conveyor_lstm_forward_together(calls.lstms.data(), to.data(), count))
    return status;
  calls.plan_backward(layers);
  std::vector<const conveyor_lstm_gradients*> back;
  for (const auto& each : calls.gradients) back.push_back(&each);
  const std::vector<const conveyor_lstm*> down(calls.lstms.rbegin(), calls.lstms.rend());
  return conveyor_lstm_backward_together(down.data(), back.data(), count);
}

int one_by_one(const Layers& layers) {
  Calls calls(layers);
  for (size_t n = 0; n < layers.size(); ++n)
    if (const int status = conveyor_lstm_forward(calls.lstms[n], &calls.outputs[n])) return status;
  calls.plan_backward(layers);
  for (size_t n = 0; n < layers.size(); ++n)
    if (const int status =
            conveyor_lstm_backward(calls.lstms[layers.size() - 1 - n], &calls.gradients[n]))
      return status;
  return CONVEYOR_OK;
}

TEST(a_stack_is_what_its_layers_are_one_by_one) {
  on_every_target([] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      for (int count : {2, 5}) {
        for (int threads : {1, 2}) {
          for (int64_t time_steps : {1, 24}) {
            const At at(std::to_string(count) + " layers on " + std::to_string(threads) +
                        " threads, " + std::to_string(time_steps) + " steps");
            conveyor::pretend_cores(threads);
            const Layers beside = stack(dtype, count, time_steps);
            const Layers alone = stack(dtype, count, time_steps);
            CHECK_EQUAL(together(beside), CONVEYOR_OK);
            CHECK_EQUAL(one_by_one(alone), CONVEYOR_OK);
            for (size_t n = 0; n < alone.size(); ++n) CHECK(beside[n]->same_results(*alone[n]));
          }
        }
      }
    }
  });
  conveyor::pretend_cores(0);
}

TEST(layers_that_do_not_fit_each_other_are_refused) {
  const Layers layers = stack(CONVEYOR_FLOAT32, 2, 9);
  layers[1]->lstm.features = 12;
  CHECK_EQUAL(together(layers), CONVEYOR_INVALID);
  CHECK(std::string(conveyor_error()).find("the request before") != std::string::npos);
}

TEST(a_stack_ends_where_the_caller_wants_it) {
  conveyor::pretend_cores(2);
  const Layers layers = stack(CONVEYOR_FLOAT32, 2, 20000);
  layers[0]->lstm.interrupted = [] { return 1; };
  CHECK_EQUAL(together(layers), CONVEYOR_INTERRUPTED);
  conveyor::pretend_cores(0);
}

}  // namespace
