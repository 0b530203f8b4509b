// Steps of a stream are the steps of a sequence, whose judge is the plain reference in double.
#include <cmath>
#include <cstring>

#include "compare.h"
#include "stream.h"
#include "threads.h"

namespace {

void forget_weights(Request& request) {
  for (Array* weights :
       {&request.kernel, &request.recurrent_kernel, &request.bias, &request.peephole,
        &request.output_kernel, &request.output_bias, &request.projection_kernel,
        &request.gate_scale, &request.cell_scale, &request.cell_shift})
    if (*weights) weights->fill(NAN);
}

// Where a step leaves `actual` [B,width], and the reference had `expected` [B,T,width].
void expect_step(const char* name, const Array& actual, const Array& expected, int64_t t,
                 const Options& o, int64_t width) {
  const At at(name);
  for (int64_t b = 0; b < o.batch; ++b)
    for (int64_t u = 0; u < width; ++u) {
      const double wanted = expected.get((b * o.time_steps + t) * width + u);
      CHECK(std::fabs(actual.get(b * width + u) - wanted) <=
            kForward[o.dtype] * (1 + std::fabs(wanted)));
    }
}

void compare(const Options& o, int64_t more_rows) {
  const At at(o.text());
  Request request(o);
  request.forward_by_reference();
  request.lstm.batch += more_rows;
  const Stream stream = stream_of(request.lstm);
  forget_weights(request);  // they were copied
  for (int64_t t = 0; t < o.time_steps; ++t) {
    Array x(o.dtype, o.batch * o.features, o.skew);
    for (int64_t b = 0; b < o.batch; ++b)
      for (int64_t f = 0; f < o.features; ++f)
        x.set(b * o.features + f, request.x.get((b * o.time_steps + t) * o.features + f));
    CHECK_EQUAL(conveyor_stream_step(stream.get(), o.batch, x.data(), request.hidden_state.data(),
                                     request.cell_state.data()),
                CONVEYOR_OK);
    expect_step("hidden_state", request.hidden_state, request.states[CONVEYOR_HIDDEN_STATES], t, o,
                o.hidden());
    expect_step("cell_state", request.cell_state, request.states[CONVEYOR_CELL_STATES], t, o,
                o.units);
  }
}

Options random_sizes(Random& random, int n) {
  Options o;
  o.dtype = n % 3;
  o.seed = random.next();
  o.batch = 1 + random.below(9);
  o.features = random.below(20);
  o.units = 1 + random.below(40);
  o.bias = random.coin();
  o.skew = static_cast<int>(random.below(2));
  return o;
}

TEST(a_stream_computes_the_steps_of_a_sequence) {
  on_every_target([] {
    Random random{11};
    for (int n = 0; n < cases(60); ++n) {
      Options o = random_sizes(random, n);
      o.peephole = n % 4 == 1;
      o.coupled = n % 5 == 1;
      if (n % 6 == 1) o.hidden_part = o.cell_part = 0.25;
      if (n % 7 == 1) o.clip = o.cell_clip = 0.5;
      compare(o, random.below(3));
    }
  });
}

TEST(a_stream_in_stages_computes_the_steps_of_a_sequence) {
  on_every_target([] {
    Random random{12};
    for (int n = 0; n < cases(120); ++n) {
      Options o = random_sizes(random, n);
      o.units += 2;  // the mean of one number is that number
      o.layer_norm = static_cast<int>(random.below(3));
      o.cell_norm = random.below(3) == 0;
      o.output_transform = random.below(3) == 0;
      if (random.coin()) o.projection = 1 + random.below(40);
      o.peephole = random.coin();
      o.coupled = random.coin();
      if (random.coin()) o.hidden_part = 0.25, o.cell_part = 0.1;
      if (random.coin()) o.clip = 1.5, o.cell_clip = 0.8;
      if (random.below(3) == 0) o.output_activation = CONVEYOR_SIGMOID;
      compare(o, random.below(3));
    }
  });
}

TEST(a_stream_has_every_activation) {
  on_every_target([] {
    Random random{13};
    for (int n = 0; n < 3 * CONVEYOR_ACTIVATIONS; ++n) {
      Options o;
      o.seed = random.next();
      o.time_steps = 2;
      o.dtype = n % 2;  // in 16 bits a value may be rounded across a kink
      o.cell_norm = random.coin();
      const int kind = n / 3;
      if (n % 3 == 0) o.activation = kind, o.output_activation = CONVEYOR_TANH;
      if (n % 3 == 1) o.recurrent_activation = kind;
      if (n % 3 == 2) o.output_activation = kind;
      compare(o, 0);
    }
  });
}

// Its memory is for as many members as there were when it was made.
TEST(a_stream_may_be_older_than_the_number_of_threads) {
  on_every_target([] {
    for (int variant = 0; variant < 4; ++variant) {
      Options o;
      o.batch = variant == 3 ? 3 : 40;
      o.time_steps = 2;
      o.units = variant == 3 ? 330 : 70;
      if (variant == 1) o.layer_norm = CONVEYOR_JOINT;
      if (variant > 1) o.output_transform = true, o.projection = 50;
      for (int cores : {1, 4}) {
        conveyor::pretend_cores(cores);
        Request request(o);
        request.forward_by_reference();
        const Stream stream = stream_of(request.lstm);
        conveyor::pretend_cores(5 - cores);
        Array x(o.dtype, o.batch * o.features);
        for (int64_t t = 0; t < o.time_steps; ++t) {
          for (int64_t b = 0; b < o.batch; ++b)
            for (int64_t f = 0; f < o.features; ++f)
              x.set(b * o.features + f, request.x.get((b * o.time_steps + t) * o.features + f));
          CHECK_EQUAL(conveyor_stream_step(stream.get(), o.batch, x.data(),
                                           request.hidden_state.data(), request.cell_state.data()),
                      CONVEYOR_OK);
        }
        expect_close("hidden_state", request.hidden_state, request.states[CONVEYOR_HIDDEN_STATE],
                     kForward[o.dtype]);
        expect_close("cell_state", request.cell_state, request.states[CONVEYOR_CELL_STATE],
                     kForward[o.dtype]);
      }
      conveyor::pretend_cores(0);
    }
  });
}

TEST(a_stream_refuses_more_rows_than_it_was_made_for) {
  Request request(Options{});
  const Stream stream = stream_of(request.lstm);
  const auto step = [&](int64_t batch, const void* x) {
    return conveyor_stream_step(stream.get(), batch, x, request.hidden_state.data(),
                                request.cell_state.data());
  };
  CHECK_EQUAL(step(request.options.batch + 1, request.x.data()), CONVEYOR_INVALID);
  CHECK(std::strstr(conveyor_error(), "batch"));
  CHECK_EQUAL(step(-1, request.x.data()), CONVEYOR_INVALID);
  CHECK_EQUAL(step(1, nullptr), CONVEYOR_INVALID);
  CHECK_EQUAL(conveyor_stream_step(nullptr, 1, request.x.data(), nullptr, nullptr),
              CONVEYOR_INVALID);
  CHECK_EQUAL(conveyor_stream_step(stream.get(), 1, request.x.data(), request.hidden_state.data(),
                                   nullptr),
              CONVEYOR_INVALID);
  CHECK_EQUAL(step(0, nullptr), CONVEYOR_OK);
  request.lstm.units = 0;
  int status = -1;
  CHECK(!conveyor_stream_new(&request.lstm, &status));
  CHECK_EQUAL(status, CONVEYOR_INVALID);
}

}  // namespace
