// The GRU on every target and dtype over random requests, against the plain reference in double.
#include <algorithm>
#include <cmath>
#include <memory>

#include "compare.h"
#include "conveyor/gru.h"
#include "gru_reference.h"

namespace {

const char* const states[] = {"hidden_states", "hidden_state", "update_gates", "reset_gates",
                              "candidates"};
const char* const gradients[] = {"d_x",    "d_kernel",       "d_recurrent_kernel",
                                 "d_bias", "d_hidden_state", "d_dropout_mask",
                                 "d_recurrent_dropout_mask"};

struct Arrays {
  Array states[CONVEYOR_GRU_STATES], gradients[7];
};

// One request, its arrays, and room for the results of the target and of the reference.
struct Request {
  Request(Random random, int dtype, int64_t B, int64_t T, int64_t F, int64_t U, int threads)
      : dtype(dtype), random_(random) {
    g.size = sizeof g;
    g.dtype = dtype;
    g.batch = B, g.time_steps = T, g.features = F, g.units = U;
    g.threads = threads;
    g.reset_after = coin();
    g.go_backwards = coin();
    for (int n = 0; n < 2; ++n) g.alpha[n] = 0.3 + 0.2 * n, g.beta[n] = 0.6 - 0.1 * n;
    // An update gate beyond 1 doubles what it keeps at each of many steps, errors too.
    if (coin() && T < 20) {
      g.activation = static_cast<int>(random_.below(5));
      g.recurrent_activation = static_cast<int>(random_.below(5));
    } else {
      g.recurrent_activation = CONVEYOR_SIGMOID;
    }
    constexpr int kMasks[] = {0, 1, 3};
    g.dropout_masks = kMasks[random_.below(3)];
    g.recurrent_dropout_masks = kMasks[random_.below(3)];
    g.x = filled(B * T * F, 1);
    g.kernel = filled(F * 3 * U, 0.5);
    g.recurrent_kernel = filled(U * 3 * U, 0.5 / std::max<double>(1, 0.1 * U));
    bias_count = (g.reset_after ? 6 : 3) * U;
    if (coin()) g.bias = filled(bias_count, 1);
    if (coin()) g.hidden_state = filled(B * U, 1);
    if (g.dropout_masks) g.dropout_mask = filled(g.dropout_masks * B * F, 2);
    if (g.recurrent_dropout_masks)
      g.recurrent_dropout_mask = filled(g.recurrent_dropout_masks * B * U, 2);
    if (coin()) {
      for (int64_t n = 0; n < B * T; ++n) mask.push_back(random_.below(3) != 0);
      g.mask = mask.data();
    }
    if (coin()) {
      for (int64_t n = 0; n < B * T; ++n) resets.push_back(std::max<int64_t>(0, random_.below(9) - 6));
      g.resets = resets.data();
    }
  }

  void compare() {
    Arrays mine, plain;
    conveyor_gru_outputs out{sizeof out, {}, nullptr}, expected = out;
    const int64_t B = g.batch, T = g.time_steps, U = g.units;
    const bool all = coin();
    for (int n = 0; n < CONVEYOR_GRU_STATES; ++n) {
      if (n && !all && coin()) continue;
      const int64_t count = B * U * (n == CONVEYOR_GRU_HIDDEN_STATE ? 1 : T);
      out.states[n] = (mine.states[n] = Array(dtype, count)).data();
      expected.states[n] = (plain.states[n] = Array(dtype, count)).data();
    }
    const int64_t bytes = conveyor_gru_reserve_bytes(dtype, B, T, U);
    const std::unique_ptr<char[]> reserve(new char[static_cast<size_t>(bytes)]);
    out.reserve = reserve.get();
    CHECK_EQUAL(conveyor_gru_forward(&g, &out), CONVEYOR_OK);
    run([&](auto judge) { judge.forward(expected); });
    for (int n = 0; n < CONVEYOR_GRU_STATES; ++n)
      if (out.states[n])
        expect_close(states[n], mine.states[n], plain.states[n], kForward[dtype],
                     largest(plain.states[n]));

    conveyor_gru_gradients d{};
    d.size = sizeof d;
    d.hidden_states = mine.states[CONVEYOR_GRU_HIDDEN_STATES].data();
    d.reserve = reserve.get();
    for (int n = 0; n < CONVEYOR_GRU_STATES; ++n)
      if (all || coin())
        d.d_states[n] = filled(B * U * (n == CONVEYOR_GRU_HIDDEN_STATE ? 1 : T), 1);
    const int64_t counts[] = {B * T * g.features, g.features * 3 * U, U * 3 * U, bias_count, B * U,
                              g.dropout_masks * B * g.features, g.recurrent_dropout_masks * B * U};
    void** wanted[] = {&d.d_x, &d.d_kernel, &d.d_recurrent_kernel, &d.d_bias, &d.d_hidden_state,
                       &d.d_dropout_mask, &d.d_recurrent_dropout_mask};
    conveyor_gru_gradients judged = d;
    void** also[] = {&judged.d_x, &judged.d_kernel, &judged.d_recurrent_kernel, &judged.d_bias,
                     &judged.d_hidden_state, &judged.d_dropout_mask,
                     &judged.d_recurrent_dropout_mask};
    for (int n = 0; n < 7; ++n) {
      if ((n == 5 && !g.dropout_masks) || (n == 6 && !g.recurrent_dropout_masks)) continue;
      if (!all && coin()) continue;
      *wanted[n] = (mine.gradients[n] = Array(dtype, counts[n])).data();
      *also[n] = (plain.gradients[n] = Array(dtype, counts[n])).data();
    }
    if (forward_alone) return;
    CHECK_EQUAL(conveyor_gru_backward(&g, &d), CONVEYOR_OK);
    run([&](auto judge) { judge.backward(judged); });
    for (int n = 0; n < 7; ++n) {
      if (!*wanted[n]) continue;
      expect_close(gradients[n], mine.gradients[n], plain.gradients[n], kBackward[dtype],
                   largest(plain.gradients[n]));
    }
  }

  std::string text() const {
    return "B" + std::to_string(g.batch) + " T" + std::to_string(g.time_steps) + " F" +
           std::to_string(g.features) + " U" + std::to_string(g.units) + " dtype " +
           std::to_string(dtype) + " reset_after " + std::to_string(g.reset_after) +
           " activations " + std::to_string(g.activation) + " " +
           std::to_string(g.recurrent_activation) +
           " dropout " + std::to_string(g.dropout_masks) + std::to_string(g.recurrent_dropout_masks);
  }

  conveyor_gru g{};
  const int dtype;
  int64_t bias_count = 0;
  bool forward_alone = false;
  std::vector<uint8_t> mask, resets;

 private:
  // What is summed up over batch and steps, or passed on by gates without bounds, is as large as
  // the largest, at least.
  static double largest(const Array& array) {
    double size = 1;
    for (int64_t n = 0; n < array.count(); ++n)
      if (std::isfinite(array.get(n))) size = std::max(size, std::abs(array.get(n)));
    return size;
  }
  template <class Run>
  void run(Run judge) {
    if (dtype == CONVEYOR_FLOAT32) return judge(conveyor::reference::Gru<float>(g));
    if (dtype == CONVEYOR_FLOAT64) return judge(conveyor::reference::Gru<double>(g));
    judge(conveyor::reference::Gru<conveyor::bfloat16>(g));
  }
  bool coin() { return random_.coin(); }
  const void* filled(int64_t count, double size) {
    held_.emplace_back(dtype, count, coin() ? 1 : 0);
    held_.back().fill(random_, -size, size);
    return held_.back().data();
  }
  Random random_;
  std::vector<Array> held_;
};

template <class Sizes>
void sweep(uint64_t seed, int count, int threads, Sizes sizes) {
  on_every_target([&] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      Random random{seed};
      const int step = (count + cases(count) - 1) / cases(count);
      for (int n = 0; n < count; n += step) {
        int64_t s[4] = {random.below(15), random.below(7), random.below(20), 1 + random.below(40)};
        sizes(s, n);
        Request request(Random{random.next()}, dtype, s[0], s[1], s[2], s[3], threads);
        const At at(request.text());
        request.compare();
      }
    }
  });
}

TEST(gru_of_every_number_of_units) {
  sweep(1, 70, 1, [](int64_t* s, int n) { s[3] = n + 1; });
}

TEST(gru_with_every_activation_in_each_place) {
  on_every_target([&] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      Random random{5};
      for (int n = 0; n < 4 * CONVEYOR_ACTIVATIONS; ++n) {
        Request request(Random{random.next()}, dtype, 1 + n % 3, 1 + n % 2, 3, 5 + n % 29, 1);
        request.g.activation = CONVEYOR_TANH;
        request.g.recurrent_activation = CONVEYOR_SIGMOID;
        (n & 1 ? request.g.activation : request.g.recurrent_activation) = n / 4;
        // In 16 bits a value may be rounded across a kink, and its gradient is another there.
        request.forward_alone = dtype == CONVEYOR_BFLOAT16;
        const At at(request.text());
        request.compare();
      }
    }
  });
}

TEST(gru_of_every_size_of_batch) {
  sweep(2, 40, 1, [](int64_t* s, int n) { s[0] = n; });
}

TEST(gru_over_many_steps) {
  sweep(3, 4, 1, [](int64_t* s, int n) { s[0] = 1 + 2 * n, s[1] = 50 + 37 * n; });
}

TEST(gru_larger_than_its_blocks_on_threads) {
  sweep(4, 6, 3, [](int64_t* s, int n) {
    s[0] = n % 2 ? 67 : 2, s[1] = n % 2 ? 3 : 20, s[2] = n % 2 ? 3 : 150, s[3] = n % 2 ? 70 : 130;
  });
}

}  // namespace
