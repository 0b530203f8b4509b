#include "target.h"

#include <atomic>

#include "reference.h"

namespace conveyor {
namespace {

const char* nothing() { return ""; }

template <class Run>
int by_type(const conveyor_lstm& l, Run run) {
  switch (l.dtype) {
    case CONVEYOR_FLOAT32: run(reference::Lstm<float, float>(l)); break;
    case CONVEYOR_FLOAT64: run(reference::Lstm<double, double>(l)); break;
    default: run(reference::Lstm<bfloat16, float>(l)); break;
  }
  return CONVEYOR_OK;
}

int forward(const conveyor_lstm& l, const conveyor_lstm_outputs& out) {
  return by_type(l, [&](const auto& lstm) { lstm.forward(out); });
}
int backward(const conveyor_lstm& l, const conveyor_lstm_gradients& g) {
  return by_type(l, [&](const auto& lstm) { lstm.backward(g); });
}

const Target scalar = {"scalar", nothing, forward, backward};
std::atomic<int> chosen{-1};

int fastest() {
  int n = target_count - 1;
  while (*targets[n]->missing()) --n;  // scalar lacks nothing
  return n;
}

}  // namespace

const Target* const targets[] = {&scalar};
const int target_count = sizeof(targets) / sizeof(*targets);

const Target& target() { return *targets[conveyor_target()]; }

}  // namespace conveyor

extern "C" {

using conveyor::target_count;
using conveyor::targets;

int conveyor_target_count(void) { return target_count; }

const char* conveyor_target_name(int n) {
  return n >= 0 && n < target_count ? targets[n]->name : "";
}

const char* conveyor_target_missing(int n) {
  return n >= 0 && n < target_count ? targets[n]->missing() : "no such target";
}

int conveyor_target(void) {
  int n = conveyor::chosen.load(std::memory_order_relaxed);
  if (n < 0) conveyor::chosen.store(n = conveyor::fastest(), std::memory_order_relaxed);
  return n;
}

int conveyor_set_target(int n) {
  if (*conveyor_target_missing(n)) return CONVEYOR_INVALID;
  conveyor::chosen.store(n, std::memory_order_relaxed);
  return CONVEYOR_OK;
}
}
