// How near to the plain reference the results of a target must be.
#pragma once

#include "request.h"

// How far a value may be off, of 1 + its own size, for each dtype. Four times the largest seen on
// any target, or more: some units in the last place, times the steps and the products that are
// summed up.
constexpr double kForward[] = {2e-6, 1e-14, 2e-2};
constexpr double kBackward[] = {2e-5, 1e-13, 6e-2};

// Fails where a value is further off; where the reference has none that is finite, the target must
// have none. `scale` is the size of what was summed up, at least. Returns how far the worst was off.
double expect_close(const char* name, const Array& actual, const Array& expected, double tolerance,
                    double scale = 1);

// Both directions by the target in use and by the reference; what either returned is compared.
struct Worst {
  double forward, backward;
};
Worst expect_close_to_reference(const Options& options);
