// The entry points of the output layer.
#include "conveyor/linear.h"

#include "checks.h"
#include "guarded.h"
#include "target.h"

extern "C" {

int conveyor_linear_cross_entropy(const conveyor_linear* linear,
                                  const conveyor_cross_entropy* losses) {
  if (const int status = conveyor::check(linear, losses)) return status;
  const conveyor_linear l = conveyor::settled(*linear);
  return conveyor::guarded([&] { return conveyor::target().cross_entropy(l, *losses); });
}

int conveyor_linear_top_k(const conveyor_linear* linear, const conveyor_top_k* largest) {
  if (const int status = conveyor::check(linear, largest)) return status;
  const conveyor_linear l = conveyor::settled(*linear);
  return conveyor::guarded([&] { return conveyor::target().top_k(l, *largest); });
}
}
