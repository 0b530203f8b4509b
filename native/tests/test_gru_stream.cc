// Steps of a GRU's stream are the steps of a sequence, whose judge is the plain reference.
#include <algorithm>
#include <cmath>
#include <vector>

#include "compare.h"
#include "gru_reference.h"
#include "stream.h"
#include "threads.h"

namespace {

struct Gru {
  Gru(Random random, int dtype, int64_t B, int64_t T, int64_t F, int64_t U, int reset_after)
      : random_(random) {
    g.size = sizeof g;
    g.dtype = dtype;
    g.batch = B, g.time_steps = T, g.features = F, g.units = U;
    g.reset_after = reset_after;
    g.recurrent_activation = CONVEYOR_SIGMOID;
    for (int n = 0; n < 2; ++n) g.alpha[n] = 0.3, g.beta[n] = 0.6;
    x = made(dtype, B * T * F, 1);
    kernel = made(dtype, F * 3 * U, 0.5);
    recurrent_kernel = made(dtype, U * 3 * U, 0.5 / std::max<double>(1, 0.1 * U));
    if (random_.coin()) bias = made(dtype, (reset_after ? 6 : 3) * U, 1);
    g.x = x.data(), g.kernel = kernel.data(), g.recurrent_kernel = recurrent_kernel.data();
    g.bias = bias.data();
    hidden_states = Array(dtype, B * T * U);
    // In 16 bits the stream's is in float; both begin alike.
    hidden_state = Array(dtype == CONVEYOR_BFLOAT16 ? CONVEYOR_FLOAT32 : dtype, B * U);
    hidden_state.fill(0);
  }

  void compare(int64_t more_rows = 0) {
    conveyor_gru_outputs out{sizeof out, {}, nullptr};
    out.states[CONVEYOR_GRU_HIDDEN_STATES] = hidden_states.data();
    by_reference(out);
    conveyor_gru with_room = g;
    with_room.batch += more_rows;
    // None of these is read.
    with_room.x = nullptr;
    with_room.dropout_masks = with_room.recurrent_dropout_masks = 1;
    const Stream stream = stream_of(with_room);
    for (Array* weights : {&kernel, &recurrent_kernel, &bias})
      if (*weights) weights->fill(NAN);  // they were copied
    steps(stream);
  }

  void steps(const Stream& stream) {
    const int64_t B = g.batch, T = g.time_steps, F = g.features, U = g.units;
    for (int64_t t = 0; t < T; ++t) {
      Array row(g.dtype, B * F, 1);
      for (int64_t b = 0; b < B; ++b)
        for (int64_t f = 0; f < F; ++f) row.set(b * F + f, x.get((b * T + t) * F + f));
      CHECK_EQUAL(conveyor_stream_step(stream.get(), B, row.data(), hidden_state.data(), nullptr),
                  CONVEYOR_OK);
      for (int64_t b = 0; b < B; ++b)
        for (int64_t u = 0; u < U; ++u) {
          const double wanted = hidden_states.get((b * T + t) * U + u);
          CHECK(std::fabs(hidden_state.get(b * U + u) - wanted) <=
                kForward[g.dtype] * (1 + std::fabs(wanted)));
        }
    }
  }

  void by_reference(const conveyor_gru_outputs& out) {
    switch (g.dtype) {
      case CONVEYOR_FLOAT32: return conveyor::reference::Gru<float>(g).forward(out);
      case CONVEYOR_FLOAT64: return conveyor::reference::Gru<double>(g).forward(out);
      default: return conveyor::reference::Gru<conveyor::bfloat16>(g).forward(out);
    }
  }

  std::string text() const {
    return "B" + std::to_string(g.batch) + " F" + std::to_string(g.features) + " U" +
           std::to_string(g.units) + " dtype " + std::to_string(g.dtype) + " reset_after " +
           std::to_string(g.reset_after) + " activations " + std::to_string(g.activation) + " " +
           std::to_string(g.recurrent_activation);
  }

  conveyor_gru g{};
  Array x, kernel, recurrent_kernel, bias, hidden_states, hidden_state;

 private:
  Array made(int dtype, int64_t count, double size) {
    Array array(dtype, count, random_.coin() ? 1 : 0);
    array.fill(random_, -size, size);
    return array;
  }
  Random random_;
};

TEST(a_stream_of_a_gru_computes_the_steps_of_a_sequence) {
  on_every_target([] {
    Random random{21};
    for (int n = 0; n < cases(80); ++n) {
      const int64_t B = 1 + random.below(20), F = random.below(20), U = 1 + random.below(70);
      Gru gru(Random{random.next()}, n % 3, B, 4, F, U, n / 3 % 2);
      const At at(gru.text());
      gru.compare(random.below(3));
    }
  });
}

TEST(a_stream_of_a_gru_has_every_activation) {
  on_every_target([] {
    Random random{22};
    for (int n = 0; n < 4 * CONVEYOR_ACTIVATIONS; ++n) {
      Gru gru(Random{random.next()}, n / 2 % 2, 2, 2, 3, 5 + n % 29, n & 1);
      (n & 2 ? gru.g.activation : gru.g.recurrent_activation) = n / 4;
      const At at(gru.text());
      gru.compare();
    }
  });
}

TEST(a_stream_of_a_gru_on_threads) {
  on_every_target([] {
    for (int n = 0; n < 8; ++n) {
      for (int cores : {1, 3}) {  // its memory is for as many members as there were
        conveyor::pretend_cores(cores);
        Gru gru(Random{7}, n % 2 ? CONVEYOR_FLOAT32 : CONVEYOR_BFLOAT16, n & 4 ? 60 : 2, 3, 40,
                n & 4 ? 60 : 260, n / 2 % 2);
        const At at(gru.text());
        conveyor_gru_outputs out{sizeof out, {}, nullptr};
        out.states[CONVEYOR_GRU_HIDDEN_STATES] = gru.hidden_states.data();
        gru.by_reference(out);
        const Stream stream = stream_of(gru.g);
        conveyor::pretend_cores(4 - cores);
        gru.steps(stream);
      }
    }
    conveyor::pretend_cores(0);
  });
}

TEST(a_stream_of_a_gru_refuses_what_it_cannot_do) {
  Gru gru(Random{3}, CONVEYOR_FLOAT32, 2, 1, 3, 4, 1);
  const Stream stream = stream_of(gru.g);
  CHECK_EQUAL(conveyor_stream_step(stream.get(), 3, gru.x.data(), gru.hidden_state.data(), nullptr),
              CONVEYOR_INVALID);
  CHECK_EQUAL(conveyor_stream_step(stream.get(), 2, gru.x.data(), nullptr, nullptr),
              CONVEYOR_INVALID);
  CHECK_EQUAL(conveyor_stream_step(stream.get(), 0, nullptr, nullptr, nullptr), CONVEYOR_OK);
  int status = -1;
  gru.g.activation = CONVEYOR_ACTIVATIONS;
  CHECK(!conveyor_gru_stream_new(&gru.g, &status));
  CHECK_EQUAL(status, CONVEYOR_INVALID);
  CHECK(!conveyor_gru_stream_new(nullptr, &status));
  gru.g.activation = CONVEYOR_TANH;
  gru.g.units = int64_t{1} << 23;  // weights of 2^48 elements, which nobody reads
  gru.g.features = 0;
  CHECK(!conveyor_gru_stream_new(&gru.g, &status));
  CHECK_EQUAL(status, CONVEYOR_OUT_OF_MEMORY);
}

}  // namespace
