// Steps of a stream are the steps of a sequence.
#include <cmath>
#include <cstring>

#include "compare.h"
#include "threads.h"

namespace {

struct Free {
  void operator()(conveyor_stream* stream) const { conveyor_stream_free(stream); }
};
using Stream = std::unique_ptr<conveyor_stream, Free>;

TEST(a_stream_computes_the_steps_of_a_sequence) {
  on_every_target([] {
    Random random{11};
    for (int n = 0; n < cases(60); ++n) {
      Options o;
      o.dtype = n % 3;
      o.seed = random.next();
      o.batch = 1 + random.below(9);
      o.features = random.below(20);
      o.units = 1 + random.below(40);
      o.bias = random.coin();
      o.skew = static_cast<int>(random.below(2));
      o.peephole = n % 4 == 1;
      o.coupled = n % 5 == 1;
      if (n % 6 == 1) o.hidden_part = o.cell_part = 0.25;
      if (n % 7 == 1) o.clip = o.cell_clip = 0.5;
      const At at(o.text());
      Request request(o);
      CHECK_EQUAL(request.forward(false), CONVEYOR_OK);
      request.lstm.batch += random.below(3);  // more rows than are used
      int status = -1;
      const Stream stream(conveyor_stream_new(&request.lstm, &status));
      CHECK_EQUAL(status, CONVEYOR_OK);
      // The weights were copied.
      request.kernel.fill(NAN);
      request.recurrent_kernel.fill(NAN);
      if (request.bias) request.bias.fill(NAN);
      if (request.peephole) request.peephole.fill(NAN);
      for (int64_t t = 0; t < o.time_steps; ++t) {
        Array x(o.dtype, o.batch * o.features, o.skew);
        for (int64_t b = 0; b < o.batch; ++b)
          for (int64_t f = 0; f < o.features; ++f)
            x.set(b * o.features + f, request.x.get((b * o.time_steps + t) * o.features + f));
        CHECK_EQUAL(conveyor_stream_step(stream.get(), o.batch, x.data(),
                                         request.hidden_state.data(), request.cell_state.data()),
                    CONVEYOR_OK);
        for (int64_t b = 0; b < o.batch; ++b) {
          for (int64_t u = 0; u < o.units; ++u) {
            const int64_t at = (b * o.time_steps + t) * o.units + u;
            const double h = request.states[CONVEYOR_HIDDEN_STATES].get(at);
            const double c = request.states[CONVEYOR_CELL_STATES].get(at);
            CHECK(std::fabs(request.hidden_state.get(b * o.units + u) - h) <= kForward[o.dtype]);
            CHECK(std::fabs(request.cell_state.get(b * o.units + u) - c) <=
                  kForward[o.dtype] * (1 + std::fabs(c)));
          }
        }
      }
    }
  });
}

// Its memory is for as many members as there were when it was made.
TEST(a_stream_may_be_older_than_the_number_of_threads) {
  on_every_target([] {
    Options o;
    o.batch = 40;
    o.time_steps = 1;
    o.units = 70;
    for (int cores : {1, 4}) {
      conveyor::pretend_cores(cores);
      Request request(o);
      CHECK_EQUAL(request.forward(false), CONVEYOR_OK);
      int status = -1;
      const Stream stream(conveyor_stream_new(&request.lstm, &status));
      CHECK_EQUAL(status, CONVEYOR_OK);
      conveyor::pretend_cores(5 - cores);
      CHECK_EQUAL(conveyor_stream_step(stream.get(), o.batch, request.x.data(),
                                       request.hidden_state.data(), request.cell_state.data()),
                  CONVEYOR_OK);
      expect_close("hidden_state", request.hidden_state, request.states[CONVEYOR_HIDDEN_STATE],
                   kForward[o.dtype]);
      expect_close("cell_state", request.cell_state, request.states[CONVEYOR_CELL_STATE],
                   kForward[o.dtype]);
    }
    conveyor::pretend_cores(0);
  });
}

TEST(a_stream_refuses_more_rows_than_it_was_made_for) {
  Request request(Options{});
  int status = -1;
  const Stream stream(conveyor_stream_new(&request.lstm, &status));
  CHECK_EQUAL(status, CONVEYOR_OK);
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
  CHECK_EQUAL(step(0, nullptr), CONVEYOR_OK);
  request.lstm.units = 0;
  CHECK(!conveyor_stream_new(&request.lstm, &status));
  CHECK_EQUAL(status, CONVEYOR_INVALID);
}

TEST(there_is_no_stream_in_stages) {
  Options o;
  o.layer_norm = CONVEYOR_GATES;
  Request request(o);
  int status = -1;
  CHECK(!conveyor_stream_new(&request.lstm, &status));
  CHECK_EQUAL(status, CONVEYOR_INVALID);
  CHECK(std::strstr(conveyor_error(), "layer_norm"));
}

}  // namespace
