#include "compare.h"

#include <algorithm>
#include <cmath>

double expect_close(const char* name, const Array& actual, const Array& expected, double tolerance,
                    double scale) {
  CHECK_EQUAL(bool(actual), bool(expected));
  CHECK_EQUAL(actual.count(), expected.count());
  double worst = 0;
  for (int64_t n = 0; n < actual.count(); ++n) {
    const double a = actual.get(n), e = expected.get(n);
    if (!std::isfinite(a) && !std::isfinite(e)) continue;
    const double error = std::fabs(a - e) / (scale + std::fabs(e));
    worst = std::max(worst, error);
    if (!(error <= tolerance)) {  // or NaN
      char text[160];
      std::snprintf(text, sizeof text, "%s[%lld] is %.9g, not %.9g", name,
                    static_cast<long long>(n), a, e);
      fail(__FILE__, __LINE__, text);
    }
  }
  return worst;
}

Worst expect_close_to_reference(const Options& options) {
  const At at(options.text());
  Worst worst{};
  // A normalisation divides by what is small where the numbers of a row are nearly the same.
  const double looser = options.layer_norm || options.cell_norm ? 10 : 1;
  Request actual(options), expected(options);
  expected.forward_by_reference();
  expected.backward_by_reference();
  const auto same_states = [&] {
    for (int s = 0; s < CONVEYOR_STATES; ++s)
      worst.forward = std::max(worst.forward,
                               expect_close(state_names[s], actual.states[s], expected.states[s],
                                            looser * kForward[options.dtype]));
  };
  CHECK_EQUAL(actual.forward(false), CONVEYOR_OK);
  same_states();
  CHECK_EQUAL(actual.forward(true), CONVEYOR_OK);  // keeping what the backward pass needs
  same_states();
  CHECK_EQUAL(actual.backward(), CONVEYOR_OK);
  for (int n = 0; n < kGradients; ++n)
    worst.backward = std::max(worst.backward,
                              expect_close(gradient_names[n], actual.gradients[n],
                                           expected.gradients[n], looser * kBackward[options.dtype]));
  worst.forward /= looser, worst.backward /= looser;
  return worst;
}
