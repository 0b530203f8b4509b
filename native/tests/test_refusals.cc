// What cannot be computed is refused before anything is allocated, with the field's name.
#include <cmath>
#include <cstring>
#include <functional>

#include "request.h"

namespace {

struct Refusal {
  const char* word;  // of the message
  std::function<void(conveyor_lstm&)> change;
};

const Refusal refusals[] = {
    {"size", [](auto& l) { l.size -= 8; }},
    {"dtype", [](auto& l) { l.dtype = 3; }},
    {"dtype", [](auto& l) { l.dtype = -1; }},
    {"activation", [](auto& l) { l.activation = CONVEYOR_ACTIVATIONS; }},
    {"recurrent_activation", [](auto& l) { l.recurrent_activation = -1; }},
    {"output_activation", [](auto& l) { l.output_activation = -1; }},
    {"clip", [](auto& l) { l.clip = -1; }},
    {"cell_clip", [](auto& l) { l.cell_clip = NAN; }},
    {"hidden_part", [](auto& l) { l.hidden_part = 1.5; }},
    {"cell_part", [](auto& l) { l.cell_part = NAN; }},
    {"layer_norm", [](auto& l) { l.layer_norm = 3; }},
    {"cell_norm", [](auto& l) { l.cell_norm = 2; }},
    {"output_transform", [](auto& l) { l.output_transform = -1; }},
    {"projection", [](auto& l) { l.projection = -1; }},
    {"gate_scale: null", [](auto& l) { l.layer_norm = CONVEYOR_GATES; }},
    {"cell_scale", [](auto& l) { l.cell_norm = 1; }},
    {"output_kernel", [](auto& l) { l.output_transform = 1; }},
    {"projection_kernel: null", [](auto& l) { l.projection = l.units; }},
    {"dropout_masks", [](auto& l) { l.dropout_masks = 2; }},
    {"recurrent_dropout_masks", [](auto& l) { l.recurrent_dropout_masks = 3; }},
    {"threads", [](auto& l) { l.threads = -1; }},
    {"batch", [](auto& l) { l.batch = -1; }},
    {"time_steps", [](auto& l) { l.time_steps = -1; }},
    {"features", [](auto& l) { l.features = -1; }},
    {"units", [](auto& l) { l.units = 0; }},
    {"units", [](auto& l) { l.units = -5; }},
    {"x: null", [](auto& l) { l.x = nullptr; }},
    {"kernel: null", [](auto& l) { l.kernel = nullptr; }},
    {"recurrent_kernel: null", [](auto& l) { l.recurrent_kernel = nullptr; }},
    {"dropout_mask: null", [](auto& l) { l.dropout_masks = 1; }},
    {"recurrent_dropout_mask: null", [](auto& l) { l.recurrent_dropout_masks = 4; }},
    {"too large", [](auto& l) { l.batch = INT64_MAX; }},
    {"too large", [](auto& l) { l.time_steps = INT64_MAX / 2; }},
    {"too large", [](auto& l) { l.features = INT64_MAX - 1; }},
    {"too large", [](auto& l) { l.units = INT64_MAX; }},
    {"too large", [](auto& l) { l.units = int64_t{1} << 31; }},
    {"too large", [](auto& l) { l.batch = l.time_steps = int64_t{1} << 31; }},
    {"too large", [](auto& l) { l.projection = INT64_MAX, l.projection_kernel = l.x; }},
    {"too large", [](auto& l) { l.batch = 0, l.time_steps = INT64_MAX; }},
    {"too large", [](auto& l) { l.features = 0, l.time_steps = INT64_MAX / 64; }},
    {"batch", [](auto& l) { l.batch = int64_t{1} << 31, l.time_steps = 1; }},
};

void expect_error(int status, const char* word) {
  CHECK_EQUAL(status, CONVEYOR_INVALID);
  if (!std::strstr(conveyor_error(), word))
    fail(__FILE__, __LINE__, std::string("'") + conveyor_error() + "' lacks '" + word + "'");
}

TEST(invalid_requests_are_refused_with_the_reason) {
  for (const Refusal& refusal : refusals) {
    const At at(refusal.word);
    Request request(Options{});
    CHECK_EQUAL(request.forward(true), CONVEYOR_OK);
    CHECK_EQUAL(std::strlen(conveyor_error()), size_t{0});
    const conveyor_lstm good = request.lstm;
    refusal.change(request.lstm);
    conveyor_lstm_outputs outputs{};
    outputs.size = sizeof outputs;
    expect_error(conveyor_lstm_forward(&request.lstm, &outputs), refusal.word);
    expect_error(request.backward(), refusal.word);
    request.lstm = good;
    CHECK_EQUAL(request.backward(), CONVEYOR_OK);
    CHECK_EQUAL(std::strlen(conveyor_error()), size_t{0});
  }
}

TEST(invalid_results_are_refused) {
  Request request(Options{});
  conveyor_lstm_outputs outputs{};
  expect_error(conveyor_lstm_forward(&request.lstm, &outputs), "outputs");
  expect_error(conveyor_lstm_forward(&request.lstm, nullptr), "outputs");
  expect_error(conveyor_lstm_forward(nullptr, &outputs), "lstm");
  conveyor_lstm_gradients gradients{};
  expect_error(conveyor_lstm_backward(&request.lstm, &gradients), "gradients");
  expect_error(conveyor_lstm_backward(&request.lstm, nullptr), "gradients");
  gradients.size = sizeof gradients;
  expect_error(conveyor_lstm_backward(&request.lstm, &gradients), "reserve");
  char byte;
  gradients.reserve = gradients.hidden_states = &byte;
  gradients.d_dropout_mask = &byte;
  expect_error(conveyor_lstm_backward(&request.lstm, &gradients), "d_dropout_mask");
  gradients.d_dropout_mask = nullptr;
  void** const of_stages[] = {&gradients.d_output_kernel, &gradients.d_output_bias,
                              &gradients.d_projection_kernel, &gradients.d_gate_scale,
                              &gradients.d_cell_scale, &gradients.d_cell_shift};
  for (int n = 0; n < 6; ++n) {
    *of_stages[n] = &byte;
    expect_error(conveyor_lstm_backward(&request.lstm, &gradients),
                 gradient_names[kDOutputKernel + n]);
    *of_stages[n] = nullptr;
  }
}

// Of the arrays that a request has, each result on each other array, by its last byte.
TEST(results_that_overlap_other_arrays_are_refused) {
  Options o;
  o.dropout_masks = o.recurrent_dropout_masks = 4;
  o.mask = Options::kRandom;
  o.resets = o.peephole = o.hidden_zoneout = o.cell_zoneout = true;
  o.layer_norm = CONVEYOR_JOINT, o.cell_norm = o.output_transform = true, o.projection = 4;
  Request request(o);
  CHECK_EQUAL(request.forward(true), CONVEYOR_OK);
  CHECK_EQUAL(request.backward(), CONVEYOR_OK);
  const Array* const inputs[] = {&request.x, &request.kernel, &request.recurrent_kernel,
                                 &request.bias, &request.hidden_state, &request.cell_state,
                                 &request.dropout_mask, &request.recurrent_dropout_mask,
                                 &request.peephole, &request.output_kernel,
                                 &request.output_bias, &request.projection_kernel,
                                 &request.gate_scale, &request.cell_scale, &request.cell_shift};
  const auto last = [](const Array& array) {
    return static_cast<char*>(array.data()) + array.bytes() - 1;
  };
  for (int s = 0; s < CONVEYOR_STATES; ++s) {
    const At at(state_names[s]);
    conveyor_lstm_outputs out{};
    out.size = sizeof out;
    const auto refused = [&](void* where) {
      out.states[s] = where;
      expect_error(conveyor_lstm_forward(&request.lstm, &out), "overlaps");
      CHECK(std::strstr(conveyor_error(), state_names[s]) == conveyor_error());
    };
    for (const Array* input : inputs) refused(last(*input));
    refused(&request.mask.back());
    refused(&request.resets.back());
    refused(&request.hidden_zoneout.back());
    refused(&request.cell_zoneout.back());
    const int other = (s + 1) % CONVEYOR_STATES;
    out.states[other] = request.states[other].data();
    out.states[s] = last(request.states[other]);
    expect_error(conveyor_lstm_forward(&request.lstm, &out), "overlaps");
  }
  conveyor_lstm_gradients g = request.wanted();
  void** const results[] = {&g.d_x, &g.d_kernel, &g.d_recurrent_kernel, &g.d_bias,
                            &g.d_hidden_state, &g.d_cell_state, &g.d_dropout_mask,
                            &g.d_recurrent_dropout_mask, &g.d_peephole, &g.d_output_kernel,
                            &g.d_output_bias, &g.d_projection_kernel, &g.d_gate_scale,
                            &g.d_cell_scale, &g.d_cell_shift};
  for (int n = 0; n < kGradients; ++n) {
    const At at(gradient_names[n]);
    void* const good = *results[n];
    const auto refused = [&](void* where) {
      *results[n] = where;
      expect_error(conveyor_lstm_backward(&request.lstm, &g), "overlaps");
      CHECK(std::strstr(conveyor_error(), gradient_names[n]));
    };
    for (const Array* input : inputs) refused(last(*input));
    for (const Array& arriving : request.d_states) refused(last(arriving));
    refused(const_cast<void*>(g.hidden_states));
    refused(const_cast<void*>(g.reserve));
    refused(*results[(n + 1) % kGradients]);
    *results[n] = good;
  }
  CHECK_EQUAL(conveyor_lstm_backward(&request.lstm, &g), CONVEYOR_OK);
}

TEST(inputs_may_overlap_each_other) {
  Options o;
  o.features = o.units;
  Request request(o), copied(o);
  request.lstm.recurrent_kernel = request.lstm.kernel;
  request.lstm.cell_state = request.lstm.hidden_state;
  std::memcpy(copied.recurrent_kernel.data(), copied.kernel.data(),
              static_cast<size_t>(copied.kernel.bytes()));
  std::memcpy(copied.cell_state.data(), copied.hidden_state.data(),
              static_cast<size_t>(copied.hidden_state.bytes()));
  for (Request* each : {&request, &copied}) {
    CHECK_EQUAL(each->forward(true), CONVEYOR_OK);
    CHECK_EQUAL(each->backward(), CONVEYOR_OK);
  }
  CHECK(request.same_results(copied));
}

TEST(sizes_of_the_reserve) {
  const auto bytes = [](int dtype, int64_t batch, int64_t time_steps, int64_t units) {
    conveyor_lstm l{};
    l.dtype = dtype, l.batch = batch, l.time_steps = time_steps, l.units = units;
    return conveyor_lstm_reserve_bytes(&l);
  };
  CHECK_EQUAL(bytes(CONVEYOR_FLOAT32, 2, 3, 16), 2 * 3 * 16 * 5 * 4);
  CHECK_EQUAL(bytes(CONVEYOR_BFLOAT16, 2, 3, 1), 2 * 3 * 16 * (4 * 2 + 4));
  CHECK_EQUAL(bytes(CONVEYOR_FLOAT64, 0, 3, 1), 0);
  CHECK_EQUAL(bytes(CONVEYOR_FLOAT32, INT64_MAX, 2, 1), -1);
  CHECK_EQUAL(bytes(CONVEYOR_FLOAT32, 1, 1, INT64_MAX), -1);
  CHECK_EQUAL(bytes(CONVEYOR_FLOAT32, -1, 2, 1), -1);
  // In stages: what goes into the gates, the cell state, and what W5 makes of it.
  conveyor_lstm l{};
  l.dtype = CONVEYOR_BFLOAT16, l.batch = 2, l.time_steps = 3, l.units = 1;
  l.projection = 1;
  CHECK_EQUAL(conveyor_lstm_reserve_bytes(&l), 2 * 3 * 16 * 5 * 4);
  l.layer_norm = CONVEYOR_JOINT, l.output_transform = 1;
  // And mean and inverse of two normalisations, of each gate.
  CHECK_EQUAL(conveyor_lstm_reserve_bytes(&l), 2 * 3 * (16 * 10 + 16) * 4);
}

TEST(targets_and_threads_that_are_not_there) {
  CHECK_EQUAL(conveyor_abi(), CONVEYOR_ABI);
  const int target = conveyor_target();
  for (int n : {-1, conveyor_target_count(), 99}) {
    CHECK_EQUAL(conveyor_set_target(n), CONVEYOR_INVALID);
    CHECK(*conveyor_target_missing(n));
    CHECK(!*conveyor_target_name(n));
  }
  CHECK_EQUAL(conveyor_target(), target);
  const int threads = conveyor_threads();
  CHECK_EQUAL(conveyor_set_threads(0), CONVEYOR_INVALID);
  CHECK_EQUAL(conveyor_set_threads(-3), CONVEYOR_INVALID);
  CHECK_EQUAL(conveyor_threads(), threads);
}

}  // namespace
