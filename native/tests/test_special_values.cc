// NaN, infinity, and numbers that are very large or very small.
#include <cmath>

#include "compare.h"

namespace {

const double kSpecial[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e-40, 3e4, -3e4};

// One special value in one array; everything that it reaches is compared.
TEST(special_values_go_where_the_reference_says) {
  on_every_target([] {
    Random random{21};
    for (int n = 0; n < cases(1000); ++n) {
      Options o;
      o.dtype = n % 3;
      o.seed = random.next();
      o.batch = 1 + random.below(8);
      o.time_steps = 1 + random.below(5);
      o.features = 1 + random.below(20);
      o.units = 1 + random.below(36);
      o.activation = static_cast<int>(random.below(3));  // the bounded ones
      o.recurrent_activation = static_cast<int>(1 + random.below(2));
      o.mask = random.coin() ? Options::kRandom : Options::kNone;
      constexpr int kMasks[] = {0, 1, 4};
      o.dropout_masks = kMasks[random.below(3)];
      o.recurrent_dropout_masks = kMasks[random.below(3)];
      const double value = kSpecial[random.below(8)];
      Request actual(o), expected(o);
      Array Request::* const inputs[] = {
          &Request::x,           &Request::kernel,     &Request::recurrent_kernel, &Request::bias,
          &Request::hidden_state, &Request::cell_state, &Request::dropout_mask,
          &Request::recurrent_dropout_mask};
      const int64_t which = random.below(8 + CONVEYOR_STATES);
      const auto chosen = [&](Request& request) -> Array& {
        return which < 8 ? request.*inputs[which] : request.d_states[which - 8];
      };
      if (!chosen(actual)) continue;  // no such mask
      // Infinity times a sum is not the sum of infinities, and both are right.
      if (std::isinf(value) && (which == 6 || which == 7)) continue;
      const int64_t at = random.below(chosen(actual).count());
      chosen(actual).set(at, value);
      chosen(expected).set(at, value);
      const At here(o.text() + " with " + std::to_string(value) + " at " + std::to_string(at) +
                    " of array " + std::to_string(which));
      CHECK_EQUAL(actual.forward(true), CONVEYOR_OK);
      CHECK_EQUAL(actual.backward(), CONVEYOR_OK);
      expected.forward_by_reference();
      expected.backward_by_reference();
      for (int s = 0; s < CONVEYOR_STATES; ++s)
        expect_close(state_names[s], actual.states[s], expected.states[s], kForward[o.dtype]);
      for (int k = 0; k < kGradients; ++k)
        expect_close(gradient_names[k], actual.gradients[k], expected.gradients[k],
                     kBackward[o.dtype], std::isfinite(value) ? 1 + std::fabs(value) : 1);
    }
  });
}

TEST(a_nan_stays_in_its_row_and_its_later_steps) {
  on_every_target([] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      Options options;
      options.dtype = dtype;
      options.batch = 9;
      options.units = 19;
      const int64_t row = 4, step = 2, T = options.time_steps, F = options.features,
                    U = options.units;
      Request clean(options), sick(options);
      for (int64_t f = 0; f < F; ++f) sick.x.set((row * T + step) * F + f, NAN);
      CHECK_EQUAL(clean.forward(false), CONVEYOR_OK);
      CHECK_EQUAL(sick.forward(false), CONVEYOR_OK);
      for (int s = 0; s < CONVEYOR_STATES; ++s) {
        if (s == CONVEYOR_HIDDEN_STATE || s == CONVEYOR_CELL_STATE) continue;
        for (int64_t n = 0; n < sick.states[s].count(); ++n) {
          const bool ill = n / (T * U) == row && n / U % T >= step;
          const double value = sick.states[s].get(n);
          CHECK(ill ? std::isnan(value) : value == clean.states[s].get(n));
        }
      }
    }
  });
}

TEST(large_numbers_saturate) {
  on_every_target([] {
    for (int dtype = 0; dtype < 3; ++dtype) {
      for (double size : {30.0, 1e4, 1e30, HUGE_VAL}) {
        Options options;
        options.dtype = dtype;
        options.batch = 2;
        options.time_steps = 3;
        options.features = 1;
        options.units = 21;
        const At at(options.text() + " of size " + std::to_string(size));
        Request actual(options), expected(options);
        for (Request* request : {&actual, &expected})
          for (int64_t n = 0; n < request->x.count(); ++n) request->x.set(n, n % 2 ? size : -size);
        CHECK_EQUAL(actual.forward(true), CONVEYOR_OK);
        expected.forward_by_reference();
        for (int s = 0; s < CONVEYOR_STATES; ++s) {
          expect_close(state_names[s], actual.states[s], expected.states[s], kForward[dtype]);
          for (int64_t n = 0; n < actual.states[s].count(); ++n)
            CHECK(std::isfinite(actual.states[s].get(n)));
        }
        CHECK_EQUAL(actual.backward(), CONVEYOR_OK);
        for (int n : {kDHiddenState, kDCellState, kDBias, kDRecurrentKernel})
          for (int64_t k = 0; k < actual.gradients[n].count(); ++k)
            CHECK(std::isfinite(actual.gradients[n].get(k)));
      }
    }
  });
}

}  // namespace
